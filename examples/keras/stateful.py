"""Long sequences in pieces: with stateful=True a batch goes on where the one before ended.

Each sequence begins with a sign, and what follows is noise; the answer is the sign, at every step
of every piece.

    KERAS_BACKEND=torch python examples/keras/stateful.py 20
"""

import sys

import keras
import numpy as np
from keras.layers import Dense

from tidegate.keras import LSTM  # in Keras: from keras.layers import LSTM

if "--help" in sys.argv:
    sys.exit(print(__doc__))
EPOCHS = int(sys.argv[1]) if sys.argv[1:] else 20
ROWS, PIECES, STEPS = 64, 6, 10

keras.utils.set_random_seed(0)

sign = np.random.choice([-1.0, 1.0], (ROWS, 1))
sequences = np.random.normal(0, 0.3, (ROWS, PIECES * STEPS))
sequences[:, :1] = 3 * sign
# the first piece of every row, then the second of every row, and so on
x = np.concatenate(np.split(sequences, PIECES, axis=1))[:, :, None]
y = np.tile(sign > 0, (PIECES, STEPS))[:, :, None]

layer = LSTM(16, return_sequences=True, stateful=True)
model = keras.Sequential(
    [keras.Input(batch_shape=(ROWS, STEPS, 1)), layer, Dense(1, activation="sigmoid")]
)
model.compile(
    optimizer=keras.optimizers.Adam(0.01), loss="binary_crossentropy", metrics=["accuracy"]
)
losses = []
for _ in range(EPOCHS):
    fitted = model.fit(x, y, batch_size=ROWS, shuffle=False, epochs=1, verbose=0)
    losses += fitted.history["loss"]
    layer.reset_state()

answers = model.predict(x, batch_size=ROWS, verbose=0)
later = slice((PIECES - 1) * ROWS, None)
accuracy = ((answers[later] > 0.5) == y[later]).mean()
print(f"accuracy in the last piece, {STEPS * (PIECES - 1)} steps after the sign: {accuracy:.3f}")
