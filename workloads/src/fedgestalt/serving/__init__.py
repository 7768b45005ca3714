"""The clinic's inference service: one photo in, ranked syndromes of the own and of the others' galleries out.

`release` verifies and loads what a federation round left at the silo, `quality` judges a photo, `local_gallery` and
`federation` find matches, `analyses` puts them together, `app` serves it. A photo lives in memory for the time of its
request; neither it nor anything derived from it is written or logged.
"""
