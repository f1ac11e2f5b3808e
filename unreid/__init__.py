"""unreid: one engine for unsupervised object re-identification.

Importing the package is cheap: it pulls in neither OpenCV, faiss, TensorBoard nor matplotlib.
"""

__version__ = "0.1.0"
