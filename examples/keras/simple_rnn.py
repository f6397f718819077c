"""The next value of a curve: SimpleRNN and Dense.

KERAS_BACKEND=torch python examples/keras/simple_rnn.py 10
"""

import sys

import keras
import numpy as np
from keras.layers import Dense

from tidegate.keras import SimpleRNN  # in Keras: from keras.layers import SimpleRNN

if "--help" in sys.argv:
    sys.exit(print(__doc__))
EPOCHS = int(sys.argv[1]) if sys.argv[1:] else 10
STEPS = 20

keras.utils.set_random_seed(0)

t = np.arange(2000)
curve = np.sin(t / 7) + 0.5 * np.sin(t / 3) + np.random.normal(0, 0.05, t.size)
x = np.array([curve[k : k + STEPS] for k in range(len(curve) - STEPS)])[:, :, None]
y = curve[STEPS:]

model = keras.Sequential([keras.Input((STEPS, 1)), SimpleRNN(32), Dense(1)])
model.compile(optimizer="adam", loss="mse")
model.summary()
history = model.fit(x[:1500], y[:1500], epochs=EPOCHS, validation_data=(x[1500:], y[1500:]))

print(f"squared error {history.history['val_loss'][-1]:.4f}, variance {y[1500:].var():.4f}")
