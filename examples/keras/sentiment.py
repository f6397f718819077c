"""Short phrases, good or bad; and what twelve of them cannot teach.

The model soon knows its phrases by heart.  On phrases that it has not seen, the loss falls, and
then rises again while the training loss goes on falling: it overfits.  EarlyStopping keeps the
weights of the best epoch.

    KERAS_BACKEND=torch python examples/keras/sentiment.py 60
"""

import sys

import keras
import numpy as np
from keras.callbacks import EarlyStopping
from keras.layers import Dense, Embedding
from keras.utils import pad_sequences

from tidegate.keras import LSTM  # in Keras: from keras.layers import LSTM

if "--help" in sys.argv:
    sys.exit(print(__doc__))
EPOCHS = int(sys.argv[1]) if sys.argv[1:] else 60

keras.utils.set_random_seed(1)

GOOD = """what a lovely day
I like this film very much
a good book and a clever one
everybody was happy with the dinner
the music was really beautiful
we had a good time"""
BAD = """what an awful day
I did not like this film
a dull book and a long one
nobody was happy with the dinner
the music was really terrible
we had a bad time"""
UNSEEN_GOOD = """a lovely film
the dinner was good
I like the music
a very happy time"""
UNSEEN_BAD = """an awful film
the dinner was bad
I did not like the music
a very dull time"""

words = dict.fromkeys(f"{GOOD} {BAD}".split())
number = {word: k for k, word in enumerate(words, start=2)}  # 0 pads, 1 is an unknown word


def prepared(good, bad):
    phrases = [*good.split("\n"), *bad.split("\n")]
    numbers = [[number.get(word, 1) for word in phrase.split()] for phrase in phrases]
    return pad_sequences(numbers, maxlen=8), np.repeat([1, 0], len(phrases) // 2)


x, y = prepared(GOOD, BAD)
unseen = prepared(UNSEEN_GOOD, UNSEEN_BAD)

model = keras.Sequential(
    [
        Embedding(len(number) + 2, 128, mask_zero=True),
        LSTM(128, return_sequences=True),
        LSTM(64),
        Dense(2, activation="softmax"),
    ]
)
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
best = EarlyStopping("val_loss", patience=EPOCHS, restore_best_weights=True)
history = model.fit(x, y, epochs=EPOCHS, batch_size=4, validation_data=unseen, callbacks=[best])

learned, validated = history.history["loss"], history.history["val_loss"]
lowest = int(np.argmin(validated))
print(f"epoch {lowest + 1}: loss {learned[lowest]:.3f}, on unseen phrases {validated[lowest]:.3f}")
print(f"epoch {len(learned)}: loss {learned[-1]:.3f}, on unseen phrases {validated[-1]:.3f}")
