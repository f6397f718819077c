"""Texts of different lengths: padded with zeros, which mask_zero makes the layers pass over.

The class is whether a text has more good words than bad ones; most are neither.

    KERAS_BACKEND=torch python examples/keras/masking.py 10
"""

import sys

import keras
import numpy as np
from keras.layers import Dense, Embedding
from keras.utils import pad_sequences

from tidegate.keras import GRU  # in Keras: from keras.layers import GRU

if "--help" in sys.argv:
    sys.exit(print(__doc__))
EPOCHS = int(sys.argv[1]) if sys.argv[1:] else 10
GOOD, BAD, WORDS, LONGEST = 1, 2, 10, 25

keras.utils.set_random_seed(0)

texts = [np.random.randint(1, WORDS, np.random.randint(3, LONGEST)) for _ in range(3000)]
x = pad_sequences(texts, padding="post")
y = np.array([(text == GOOD).sum() > (text == BAD).sum() for text in texts])

model = keras.Sequential(
    [
        Embedding(WORDS, 32, mask_zero=True),
        GRU(64),
        Dense(1, activation="sigmoid"),
    ]
)
model.compile(
    optimizer=keras.optimizers.Adam(0.005), loss="binary_crossentropy", metrics=["accuracy"]
)
history = model.fit(x, y, epochs=EPOCHS, batch_size=64, validation_split=0.2)
