"""The name of everything between a photo's bytes and the pixels that a network sees."""

# Detection, alignment to 112 x 112, (x / 255 - 0.5) / 0.5. Must change whenever the pixels would: it keys the
# cache and is written into every extractor bundle.
PREPROCESSING = "mtcnn-arcface112/1"
