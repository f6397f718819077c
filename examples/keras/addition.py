"""Sums, digit by digit, as in Keras' own example: "535+61" is read, "596" is written.

The question is read backwards, which brings the digits that belong together nearer.

    KERAS_BACKEND=torch python examples/keras/addition.py 30 [DIGITS]
"""

import sys

import keras
import numpy as np
from keras.layers import Dense, RepeatVector

from tidegate.keras import LSTM  # in Keras: from keras.layers import LSTM

if "--help" in sys.argv:
    sys.exit(print(__doc__))
EPOCHS = int(sys.argv[1]) if sys.argv[1:] else 30
DIGITS = int(sys.argv[2]) if sys.argv[2:] else 3
CHARACTERS = "0123456789+ "

keras.utils.set_random_seed(0)

COUNT = min(50_000, 10 ** (2 * DIGITS) // 2)
pairs = np.random.choice(10 ** (2 * DIGITS), COUNT, replace=False)
first, second = np.divmod(pairs, 10**DIGITS)
questions = [f"{a}+{b}".ljust(2 * DIGITS + 1)[::-1] for a, b in zip(first, second, strict=True)]
answers = [str(total).ljust(DIGITS + 1) for total in first + second]


def one_hot(texts):
    return np.eye(len(CHARACTERS))[[[CHARACTERS.index(c) for c in text] for text in texts]]


x, y = one_hot(questions), one_hot(answers)
unseen = slice(len(x) * 9 // 10, None)
learned = slice(0, unseen.start)

model = keras.Sequential(
    [
        keras.Input(x.shape[1:]),
        LSTM(128),
        RepeatVector(DIGITS + 1),
        LSTM(128, return_sequences=True),
        Dense(len(CHARACTERS), activation="softmax"),
    ]
)
model.compile(
    optimizer=keras.optimizers.Adam(0.003), loss="categorical_crossentropy", metrics=["accuracy"]
)
history = model.fit(
    x[learned], y[learned], batch_size=64, epochs=EPOCHS, validation_data=(x[unseen], y[unseen])
)

written = model.predict(x[unseen], verbose=0).argmax(axis=-1)
right = (written == y[unseen].argmax(axis=-1)).all(axis=1)
print(f"sums that are right: {right.mean():.3f}")
for k in range(5):
    answer = "".join(CHARACTERS[c] for c in written[k])
    print(questions[unseen.start + k][::-1].strip(), "=", answer.strip())
