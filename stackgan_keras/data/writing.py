from stackgan_keras.layout import *
