"""A curve from one number: RepeatVector hands the number to every step.

KERAS_BACKEND=torch python examples/keras/one_to_many.py 20
"""

import sys

import keras
import numpy as np
from keras.layers import Dense, RepeatVector, TimeDistributed

from tidegate.keras import GRU  # in Keras: from keras.layers import GRU

if "--help" in sys.argv:
    sys.exit(print(__doc__))
EPOCHS = int(sys.argv[1]) if sys.argv[1:] else 20
STEPS = 25

keras.utils.set_random_seed(0)

frequency = np.random.uniform(0.5, 2, (1000, 1))
x = frequency
y = np.sin(2 * np.pi * frequency * np.arange(STEPS) / STEPS)[:, :, None]

model = keras.Sequential(
    [
        keras.Input((1,)),
        RepeatVector(STEPS),
        GRU(64, return_sequences=True),
        TimeDistributed(Dense(1)),
    ]
)
model.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse")
history = model.fit(x, y, epochs=EPOCHS, batch_size=32, validation_split=0.2)

for step in model.predict(np.array([[1.0]]), verbose=0)[0, :, 0]:
    print(" " * int(20 + 19 * step) + "*")
