"""A sequence from a sequence: the encoder's states are where the decoder begins.

The answer is the question backwards.  In training the decoder reads the right answer so far; to
answer, it reads its own.

    KERAS_BACKEND=torch python examples/keras/encoder_decoder.py 20
"""

import sys

import keras
import numpy as np
from keras.layers import Dense, Embedding

from tidegate.keras import LSTM  # in Keras: from keras.layers import LSTM

if "--help" in sys.argv:
    sys.exit(print(__doc__))
EPOCHS = int(sys.argv[1]) if sys.argv[1:] else 20
DIGITS, STEPS, START = 10, 5, 10

keras.utils.set_random_seed(0)

questions = np.random.randint(0, DIGITS, (5000, STEPS))
answers = questions[:, ::-1]
so_far = np.concatenate([np.full((len(answers), 1), START), answers[:, :-1]], axis=1)

encoder_inputs, decoder_inputs = keras.Input((STEPS,)), keras.Input((None,))
_, h, c = LSTM(64, return_state=True)(Embedding(DIGITS, 32)(encoder_inputs))
decoder = LSTM(64, return_sequences=True, return_state=True)
outputs, _, _ = decoder(Embedding(DIGITS + 1, 32)(decoder_inputs), initial_state=[h, c])
probabilities = Dense(DIGITS, activation="softmax")(outputs)
model = keras.Model([encoder_inputs, decoder_inputs], probabilities)
model.compile(
    optimizer=keras.optimizers.Adam(0.005),
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy"],
)
history = model.fit(
    [questions, so_far], answers, epochs=EPOCHS, batch_size=64, validation_split=0.2
)

asked = np.random.randint(0, DIGITS, (200, STEPS))
written = np.full((len(asked), 1), START)
for _ in range(STEPS):
    following = model.predict([asked, written], verbose=0)[:, -1].argmax(axis=1)
    written = np.concatenate([written, following[:, None]], axis=1)
right = (written[:, 1:] == asked[:, ::-1]).mean()
print(f"{asked[0]} -> {written[0, 1:]}; digits that are right: {right:.3f}")
