"""Film reviews by GRU or by LSTM, as in Keras' own example: the last 80 of 20,000 words.

    KERAS_BACKEND=torch python examples/keras/imdb.py --data FOLDER --cell gru

FOLDER holds train.tsv.gz and test.tsv.gz: a header, then lines of label (1 or 0), two columns that
are not read, and the text.  Without a folder, made-up reviews show that all works.
"""

import argparse
import csv
import gzip
import random
import re
from collections import Counter
from pathlib import Path

import keras
import numpy as np
from keras.layers import Dense, Embedding
from keras.utils import pad_sequences

from tidegate.keras import GRU, LSTM  # in Keras: from keras.layers import GRU, LSTM

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("--data", type=Path)
parser.add_argument("--cell", choices=("gru", "lstm"), default="gru")
parser.add_argument("--epochs", type=int, default=3)
options = parser.parse_args()
WORDS, LONGEST = 20_000, 80

keras.utils.set_random_seed(0)


def read(path):
    csv.field_size_limit(1_000_000)
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]
    return [row[-1] for row in rows], np.array([int(row[0]) for row in rows])


def made_up(count):
    plain = ["the", "film", "plot", "of", "it", "was", "with", "a", "music", "scene", "and"]
    marked = {1: ["lovely", "clever", "moving"], 0: ["dull", "awful", "silly"]}
    labels = [random.randrange(2) for _ in range(count)]
    texts = [random.choices(plain, k=40) + random.choices(marked[k], k=3) for k in labels]
    return [" ".join(random.sample(words, len(words))) for words in texts], np.array(labels)


if options.data is None:
    (texts, y), (unseen_texts, unseen_y) = made_up(600), made_up(200)
else:
    texts, y = read(options.data / "train.tsv.gz")
    unseen_texts, unseen_y = read(options.data / "test.tsv.gz")
split = [re.findall(r"[\w']+", text.lower()) for text in texts]
frequent = Counter(word for text in split for word in text).most_common(WORDS - 2)
number = {word: k for k, (word, _) in enumerate(frequent, start=2)}


def prepared(texts):
    numbers = [[number.get(w, 1) for w in re.findall(r"[\w']+", t.lower())] for t in texts]
    return pad_sequences(numbers, maxlen=LONGEST)


x, unseen = prepared(texts), prepared(unseen_texts)
order = np.random.permutation(len(x))
layer = {"gru": GRU, "lstm": LSTM}[options.cell]
model = keras.Sequential(
    [
        Embedding(WORDS, 128, mask_zero=True),
        layer(128, dropout=0.2, recurrent_dropout=0.2),
        Dense(1, activation="sigmoid"),
    ]
)
model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
model.fit(x[order], y[order], batch_size=32, epochs=options.epochs, validation_split=0.1)
loss, accuracy = model.evaluate(unseen, unseen_y, batch_size=128)
print(f"test accuracy {accuracy:.4f}")
