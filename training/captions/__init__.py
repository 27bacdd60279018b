"""Captions, queries and tags made by a language model: tasks, two kinds of models behind one interface, resumable runs."""

from .captioner import Captioner, NoReply, Request
from .task import CaptionTask, Example, load_tasks
from .tasks import PIPELINES

__all__ = ["PIPELINES", "CaptionTask", "Captioner", "Example", "NoReply", "Request", "load_tasks"]
