from stackgan_keras.safe_pickle import *
