from stackgan_keras.embedded import *
