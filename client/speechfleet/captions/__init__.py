"""Captions of a job: what is spoken, and when.

units.py     the text in pieces that are never parted, each with its time
cues.py      which of them are seen together, by the rules for subtitles
forms.py     written as SubRip, WebVTT, ASS or JSON
captions.py  all of it, for one job
"""

from speechfleet.captions.captions import CaptionUnit, captions, check_captions
from speechfleet.captions.forms import FORMS, MEDIA_TYPES, CaptionForm

__all__ = ["FORMS", "MEDIA_TYPES", "CaptionForm", "CaptionUnit", "captions", "check_captions"]
