"""Two classes of token sequences: Embedding, two layers of GRU, softmax.

The class is which of two marks came last.

    KERAS_BACKEND=torch python examples/keras/gru.py 5
"""

import sys

import keras
import numpy as np
from keras.layers import Dense, Embedding

from tidegate.keras import GRU  # in Keras: from keras.layers import GRU

if "--help" in sys.argv:
    sys.exit(print(__doc__))
EPOCHS = int(sys.argv[1]) if sys.argv[1:] else 5
WORDS, STEPS = 1000, 20
MARKS = (1, 2)

keras.utils.set_random_seed(0)

x = np.random.randint(3, WORDS, (2500, STEPS))
marked = np.random.random(x.shape) < 0.2
marked[:, 0] = True
x[marked] = np.random.choice(MARKS, marked.sum())
last = STEPS - 1 - marked[:, ::-1].argmax(axis=1)
y = x[np.arange(len(x)), last] - 1

model = keras.Sequential(
    [
        Embedding(WORDS, 128),
        GRU(128, return_sequences=True),
        GRU(64),
        Dense(2, activation="softmax"),
    ]
)
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(x, y, epochs=EPOCHS, batch_size=32, validation_split=0.2)
