"""A soak: random load against random faults, and the invariants that must hold at the end.

``make soak MINUTES=10`` runs it; ``python -m tests.soak --help`` lists its arguments.

stage.py          the fleet under test: Valkey, workers, gateway, store, each behind a proxy
proxy.py          TCP proxies that cut, stall and refuse connections
disk.py           small disks that can be full
workers_clock.py  a wall clock of the workers that can be set wrong
load.py           random submits, sessions, batches and listeners, and what each must end in
faults.py         the faults, one at a time, each with its repair
starting.py       workers that start, also where their clock's library crashes them
process_watch.py  processes that end though no fault has ended them
invariants.py     what must be true once the load has ended
report.py         what a leg did and found, as a table
run_folder.py     the folder of a leg, also after a soak that was killed
"""
