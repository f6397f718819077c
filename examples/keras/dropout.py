"""Dropout on inputs and on states: ten classes of noisy curves, from few examples.

The class is how many waves a curve has.

    KERAS_BACKEND=torch python examples/keras/dropout.py 20
"""

import sys

import keras
import numpy as np
from keras.layers import Dense, Dropout

from tidegate.keras import GRU  # in Keras: from keras.layers import GRU

if "--help" in sys.argv:
    sys.exit(print(__doc__))
EPOCHS = int(sys.argv[1]) if sys.argv[1:] else 20
STEPS, CLASSES = 30, 10

keras.utils.set_random_seed(0)

y = np.random.randint(0, CLASSES, 1200)
t = np.arange(STEPS) / STEPS
phases = np.random.random((len(y), 1))
x = np.sin(2 * np.pi * ((y[:, None] + 1) * t + phases)) + np.random.normal(0, 0.2, (len(y), STEPS))
x = x[:, :, None]

model = keras.Sequential(
    [
        keras.Input((STEPS, 1)),
        GRU(100, return_sequences=True, dropout=0.1, recurrent_dropout=0.1),
        GRU(100, dropout=0.1, recurrent_dropout=0.1),
        Dropout(0.2),
        Dense(CLASSES, activation="softmax"),
    ]
)
model.compile(
    optimizer=keras.optimizers.Adam(0.003),
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy"],
)
history = model.fit(x, y, epochs=EPOCHS, batch_size=32, validation_split=0.2)
