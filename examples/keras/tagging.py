"""An answer at every step: TimeDistributed(Dense) over return_sequences=True.

A tag says whether a number is greater than all before it.

    KERAS_BACKEND=torch python examples/keras/tagging.py 10
"""

import sys

import keras
import numpy as np
from keras.layers import Dense, Embedding, TimeDistributed

from tidegate.keras import LSTM  # in Keras: from keras.layers import LSTM

if "--help" in sys.argv:
    sys.exit(print(__doc__))
EPOCHS = int(sys.argv[1]) if sys.argv[1:] else 10
NUMBERS, STEPS = 20, 12

keras.utils.set_random_seed(0)

x = np.random.randint(0, NUMBERS, (2000, STEPS))
y = np.array([[n > max(row[:k], default=-1) for k, n in enumerate(row)] for row in x.tolist()])

model = keras.Sequential(
    [
        Embedding(NUMBERS, 32),
        LSTM(64, return_sequences=True),
        TimeDistributed(Dense(1, activation="sigmoid")),
    ]
)
model.compile(
    optimizer=keras.optimizers.Adam(0.005), loss="binary_crossentropy", metrics=["accuracy"]
)
history = model.fit(x, y[:, :, None], epochs=EPOCHS, batch_size=32, validation_split=0.2)

row = x[-1]
tags = model.predict(row[None], verbose=0)[0, :, 0] > 0.5
print(*(f"{n}{'*' if tag else ''}" for n, tag in zip(row, tags, strict=True)))
