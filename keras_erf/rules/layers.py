"""The table of layers: one line per class of `keras.layers`.

Classes are given by name, so that Keras releases which lack one can be used;
`tests/test_layer_rules.py` fails when Keras has a class that is not here.
"""

from __future__ import annotations

from keras import layers

from keras_erf.rules import (
    attention,
    everything,
    pointwise,
    preprocessing,
    rearranging,
    recurrent,
    resizing,
    sliding,
    wrappers,
)
from keras_erf.rules.activations import Activated
from keras_erf.rules.call import Rule
from keras_erf.rules.measured import measured
from keras_erf.rules.refused import refused

__all__ = ["LAYERS", "NAMED"]

abstract = refused("it is a base class and computes nothing")
words = refused("its inputs are words, which have no pixels")

convolution = Activated(sliding.convolution)
depthwise = Activated(sliding.depthwise_convolution)
separable = Activated(sliding.separable_convolution)
transposed = Activated(sliding.transposed_convolution)

# Every layer of `keras.layers` by name.
NAMED: dict[str, Rule] = {
    # Convolutions
    "Conv1D": convolution,
    "Conv2D": convolution,
    "Conv3D": convolution,
    "DepthwiseConv1D": depthwise,
    "DepthwiseConv2D": depthwise,
    "SeparableConv1D": separable,
    "SeparableConv2D": separable,
    "Conv1DTranspose": transposed,
    "Conv2DTranspose": transposed,
    "Conv3DTranspose": transposed,
    # Pooling
    "MaxPooling1D": sliding.pooling,
    "MaxPooling2D": sliding.pooling,
    "MaxPooling3D": sliding.pooling,
    "AveragePooling1D": sliding.pooling,
    "AveragePooling2D": sliding.pooling,
    "AveragePooling3D": sliding.pooling,
    "GlobalAveragePooling1D": everything.global_pooling,
    "GlobalAveragePooling2D": everything.global_pooling,
    "GlobalAveragePooling3D": everything.global_pooling,
    "GlobalMaxPooling1D": everything.global_pooling,
    "GlobalMaxPooling2D": everything.global_pooling,
    "GlobalMaxPooling3D": everything.global_pooling,
    "AdaptiveAveragePooling1D": resizing.adaptive_pooling,
    "AdaptiveAveragePooling2D": resizing.adaptive_pooling,
    "AdaptiveAveragePooling3D": resizing.adaptive_pooling,
    "AdaptiveMaxPooling1D": resizing.adaptive_pooling,
    "AdaptiveMaxPooling2D": resizing.adaptive_pooling,
    "AdaptiveMaxPooling3D": resizing.adaptive_pooling,
    # Padding, cropping, resizing
    "ZeroPadding1D": sliding.zero_padding,
    "ZeroPadding2D": sliding.zero_padding,
    "ZeroPadding3D": sliding.zero_padding,
    "Cropping1D": sliding.cropping,
    "Cropping2D": sliding.cropping,
    "Cropping3D": sliding.cropping,
    "UpSampling1D": sliding.upsampling,
    "UpSampling2D": sliding.upsampling,
    "UpSampling3D": sliding.upsampling,
    "CenterCrop": resizing.center_crop,
    "RandomCrop": resizing.random_crop,
    "Resizing": resizing.resizing,
    # Merges
    "Add": pointwise.elementwise,
    "Average": pointwise.elementwise,
    "Maximum": pointwise.elementwise,
    "Minimum": pointwise.elementwise,
    "Multiply": pointwise.elementwise,
    "Subtract": pointwise.elementwise,
    "Concatenate": rearranging.concatenation,
    "Dot": pointwise.dot,
    # Activations
    "Activation": Activated(pointwise.elementwise),
    "ELU": pointwise.elementwise,
    "LeakyReLU": pointwise.elementwise,
    "PReLU": pointwise.elementwise,
    "ReLU": pointwise.elementwise,
    "Softmax": pointwise.softmax,
    # Normalisation
    "BatchNormalization": pointwise.elementwise,
    "GroupNormalization": pointwise.group_normalization,
    "LayerNormalization": pointwise.normalization,
    "Normalization": pointwise.elementwise,
    "Rescaling": pointwise.elementwise,
    "RMSNormalization": pointwise.normalization,
    "SpectralNormalization": wrappers.same_as_inner,
    "UnitNormalization": pointwise.normalization,
    # Noise and regularisation
    "ActivityRegularization": pointwise.elementwise,
    "AlphaDropout": pointwise.elementwise,
    "Dropout": pointwise.elementwise,
    "GaussianDropout": pointwise.elementwise,
    "GaussianNoise": pointwise.elementwise,
    "SpatialDropout1D": pointwise.elementwise,
    "SpatialDropout2D": pointwise.elementwise,
    "SpatialDropout3D": pointwise.elementwise,
    # Dense layers and embeddings
    "Dense": Activated(pointwise.dense),
    "EinsumDense": Activated(pointwise.einsum),
    "Embedding": pointwise.embedding,
    "ReversibleEmbedding": pointwise.embedding,
    # Rearranging
    "Flatten": rearranging.reshape,
    "Identity": pointwise.elementwise,
    "Masking": pointwise.masking,
    "Permute": rearranging.permute,
    "RepeatVector": rearranging.repeat_vector,
    "Reshape": rearranging.reshape,
    # Attention
    "AdditiveAttention": attention.attention,
    "Attention": attention.attention,
    "GroupQueryAttention": attention.multi_head_attention,
    "MultiHeadAttention": attention.multi_head_attention,
    # Recurrence
    "Bidirectional": recurrent.bidirectional,
    "ConvLSTM1D": recurrent.convolutional_lstm,
    "ConvLSTM2D": recurrent.convolutional_lstm,
    "ConvLSTM3D": recurrent.convolutional_lstm,
    "GRU": recurrent.recurrent,
    "GRUCell": recurrent.cell,
    "LSTM": recurrent.recurrent,
    "LSTMCell": recurrent.cell,
    "RNN": recurrent.recurrent,
    "SimpleRNN": recurrent.recurrent,
    "SimpleRNNCell": recurrent.cell,
    "StackedRNNCells": measured,
    "TimeDistributed": wrappers.time_distributed,
    # Augmentation: none but in training
    "AugMix": preprocessing.augmentation,
    "AutoContrast": preprocessing.auto_contrast,
    "ContrastLimitedAdaptiveHistogramEqualization": preprocessing.equalisation_by_parts,
    "CutMix": preprocessing.augmentation,
    "Equalization": preprocessing.augmentation,
    "MaxNumBoundingBoxes": preprocessing.augmentation,
    "MixUp": preprocessing.augmentation,
    "Pipeline": wrappers.pipeline,
    "RandAugment": preprocessing.augmentation,
    "RandomBrightness": preprocessing.augmentation,
    "RandomColorDegeneration": preprocessing.augmentation,
    "RandomColorJitter": preprocessing.augmentation,
    "RandomContrast": preprocessing.augmentation,
    "RandomElasticTransform": preprocessing.augmentation,
    "RandomErasing": preprocessing.augmentation,
    "RandomFlip": preprocessing.augmentation,
    "RandomGaussianBlur": preprocessing.augmentation,
    "RandomGrayscale": preprocessing.augmentation,
    "RandomHue": preprocessing.augmentation,
    "RandomInvert": preprocessing.augmentation,
    "RandomPerspective": preprocessing.augmentation,
    "RandomPosterization": preprocessing.augmentation,
    "RandomRotation": preprocessing.augmentation,
    "RandomSaturation": preprocessing.augmentation,
    "RandomSharpness": preprocessing.augmentation,
    "RandomShear": preprocessing.augmentation,
    "RandomTranslation": preprocessing.augmentation,
    "RandomZoom": preprocessing.augmentation,
    "Solarization": preprocessing.augmentation,
    # Preparing data
    "CategoryEncoding": preprocessing.encoding,
    "Discretization": preprocessing.encoding,
    "HashedCrossing": preprocessing.encoding,
    "Hashing": preprocessing.encoding,
    "IntegerLookup": preprocessing.encoding,
    "MelSpectrogram": preprocessing.mel_spectrogram,
    "STFTSpectrogram": preprocessing.spectrogram,
    "StringLookup": words,
    "TextVectorization": words,
    # Other people's code
    "FlaxLayer": measured,
    "JaxLayer": measured,
    "Lambda": measured,
    "TFSMLayer": measured,
    "TorchModuleWrapper": measured,
    # Base classes
    "InputLayer": abstract,
    "Layer": abstract,
    "Wrapper": abstract,
}

# Those this Keras has.
LAYERS: dict[type | str, Rule] = {
    vars(layers)[name]: rule for name, rule in NAMED.items() if name in vars(layers)
}
