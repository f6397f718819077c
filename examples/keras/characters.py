"""Text, character by character, as in Keras' own example: from forty characters the next one.

KERAS_BACKEND=torch python examples/keras/characters.py 20 [TEXT]
"""

import sys
from pathlib import Path

import keras
import numpy as np
from keras.layers import Dense

from tidegate.keras import LSTM  # in Keras: from keras.layers import LSTM

if "--help" in sys.argv:
    sys.exit(print(__doc__))
EPOCHS = int(sys.argv[1]) if sys.argv[1:] else 20
LENGTH, STEP = 40, 1
RHYME = (
    "malt\nthat lay in", "rat\nthat ate", "cat\nthat killed", "dog\nthat worried",
    "cow with the crumpled horn\nthat tossed", "maiden all forlorn\nthat milked",
    "man all tattered and torn\nthat kissed", "priest all shaven and shorn\nthat married",
)  # fmt: skip

keras.utils.set_random_seed(0)

if sys.argv[2:]:
    text = Path(sys.argv[2]).read_text(encoding="utf-8").lower()
else:
    text = ""
    for k in range(len(RHYME) + 1):
        parts = [*reversed(RHYME[:k]), "house that Jack built.\n\n"]
        text += "this is the " + " the ".join(parts)
    text = text.lower()

characters = sorted(set(text))
number = {c: k for k, c in enumerate(characters)}
encoded = np.eye(len(characters), dtype="float32")[[number[c] for c in text]]
starts = range(0, len(text) - LENGTH, STEP)
x = np.stack([encoded[k : k + LENGTH] for k in starts])
y = np.stack([encoded[k + LENGTH] for k in starts])

model = keras.Sequential(
    [
        keras.Input((LENGTH, len(characters))),
        LSTM(128),
        Dense(len(characters), activation="softmax"),
    ]
)
model.compile(optimizer=keras.optimizers.RMSprop(0.01), loss="categorical_crossentropy")
history = model.fit(x, y, batch_size=128, epochs=EPOCHS)


def drawn(probabilities, temperature):
    logits = np.log(probabilities + 1e-9) / temperature
    weights = np.exp(logits - logits.max())
    return np.random.choice(len(weights), p=weights / weights.sum())


for temperature in (0.2, 1.0):
    written = text[:LENGTH]
    for _ in range(200):
        recent = np.stack([encoded[text.index(c)] for c in written[-LENGTH:]])
        probabilities = model.predict(recent[None], verbose=0)[0].astype("float64")
        written += characters[drawn(probabilities, temperature)]
    print(f"--- temperature {temperature}\n{written}")
