"""An answer at every step: TimeDistributed(Dense) over return_sequences=True.

A tag says whether a word stood in the text before.

    KERAS_BACKEND=torch python examples/keras/tagging.py 10
"""

import sys

import keras
import numpy as np
from keras.layers import Dense, Embedding, TimeDistributed

from tidegate.keras import LSTM  # in Keras: from keras.layers import LSTM

EPOCHS = int(sys.argv[1]) if sys.argv[1:] else 10
WORDS, STEPS = 10, 12

keras.utils.set_random_seed(0)

x = np.random.randint(0, WORDS, (2000, STEPS))
y = np.array([[word in text[:k] for k, word in enumerate(text)] for text in x.tolist()])

model = keras.Sequential(
    [
        Embedding(WORDS, 32),
        LSTM(64, return_sequences=True),
        TimeDistributed(Dense(1, activation="sigmoid")),
    ]
)
model.compile(
    optimizer=keras.optimizers.Adam(0.005), loss="binary_crossentropy", metrics=["accuracy"]
)
history = model.fit(x, y[:, :, None], epochs=EPOCHS, batch_size=32, validation_split=0.2)

text = x[-1]
tags = model.predict(text[None], verbose=0)[0, :, 0] > 0.5
print(*(f"{word}{'*' if tag else ''}" for word, tag in zip(text, tags, strict=True)))
