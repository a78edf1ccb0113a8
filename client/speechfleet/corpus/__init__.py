"""Corpora: many texts, each spoken once, and gone on with after any interruption.

item.py        an item, its id and file name, the request of its job
lines.py       a file or stdin as numbered lines: unpacked, decoded
formats.py     JSONL, OpenAI's batch form, CSV, TSV, LJSpeech, lines, paragraphs
source.py      a corpus in a file, and all that is wrong with it
seen.py        which ids and file names there were, on disk
prices.py      what it costs, and what a run may spend
batch.py       one batch, from the first item to the last: what `AsyncClient.batch` gives
feeding.py     items into the fleet, within the window
delivery.py    what ended, into files and entries
folder.py  manifest.py  captions.py    what lies in the folder of a batch
"""
