"""Both directions: what follows a word decides as much as what came before it.

A tag says whether a neighbour of a word, left or right, is one of the marks.

    KERAS_BACKEND=torch python examples/keras/bidirectional.py 10
"""

import sys

import keras
import numpy as np
from keras.layers import Bidirectional, Dense, Embedding

from tidegate.keras import LSTM  # in Keras: from keras.layers import LSTM

if "--help" in sys.argv:
    sys.exit(print(__doc__))
EPOCHS = int(sys.argv[1]) if sys.argv[1:] else 10
WORDS, STEPS, MARKS = 20, 15, 4

keras.utils.set_random_seed(0)

x = np.random.randint(0, WORDS, (2000, STEPS))
is_mark = np.pad(x < MARKS, ((0, 0), (1, 1)))
y = is_mark[:, :-2] | is_mark[:, 2:]

model = keras.Sequential(
    [
        Embedding(WORDS, 32),
        Bidirectional(LSTM(32, return_sequences=True)),
        Bidirectional(LSTM(32, return_sequences=True)),
        Dense(1, activation="sigmoid"),
    ]
)
model.compile(
    optimizer=keras.optimizers.Adam(0.005), loss="binary_crossentropy", metrics=["accuracy"]
)
history = model.fit(x, y[:, :, None], epochs=EPOCHS, batch_size=64, validation_split=0.2)
