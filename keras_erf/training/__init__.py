"""The poster's last panel: networks on CIFAR-10 and CamVid, with their fields during training."""

from keras_erf.training.loop import Options, Outcome
from keras_erf.training.summary import Summary, summarise
from keras_erf.training.tasks import TASKS, train

__all__ = ["TASKS", "Options", "Outcome", "Summary", "summarise", "train"]
