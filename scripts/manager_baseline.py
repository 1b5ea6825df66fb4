"""What `proctor bench rpc` is compared with: a dict of multiprocessing.Manager, one call per key.

Measures the four rows of the design that the services replace, with records of the size that it had,
and prints one JSON object per row: {"row": ..., "calls": ..., "median_ns": ..., "range_ns": [..., ...],
"rounds": ...}. Plain CPython, no packages. Usage: manager_baseline.py [ROUNDS]
"""

import json
import multiprocessing
import statistics
import sys
import time


def record(number):
    """Returns an elimination as the shared dict held it."""
    return {
        "hotkey": "5" + f"{number:047d}",
        "dd": 11.25,
        "reason": "MAX_TOTAL_DRAWDOWN",
        "elimination_initiated_time_ms": 1_767_614_400_000 + number,
        "price_info": {"BTCUSD": 50_000.0, "ETHUSD": 2_500.0},
        "return_info": {"return": 0.8875},
    }


def timed(times, work):
    """Returns how long one of `times` runs of `work` takes, in ns."""
    begun = time.perf_counter_ns()
    for number in range(times):
        work(number)
    return (time.perf_counter_ns() - begun) / times


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    rows = [record(number) for number in range(100)]
    names = [row["hotkey"] for row in rows]
    with multiprocessing.Manager() as manager:
        shared = manager.dict()
        for row in rows:
            shared[row["hotkey"]] = row

        def check(number):
            assert names[number % 100] in shared

        def get_all(_):
            assert len([shared[name] for name in shared.keys()]) == 100

        def sync(_):
            # One call to list the keys, one per key to remove it, one per row to set it.
            for name in shared.keys():
                del shared[name]
            for row in rows:
                shared[row["hotkey"]] = row

        def update(number):
            name = names[number % 100]
            changed = shared[name]
            changed["dd"] = 12.5
            shared[name] = changed

        cases = [
            ("check 1", 1, 500, check),
            ("get 100", 101, 5, get_all),
            ("sync 100", 201, 3, sync),
            ("update 1", 2, 200, update),
        ]
        taken = {name: [] for name, _, _, _ in cases}
        for _ in range(rounds):
            # The rows take turns, so that all see the same changes of the machine's load.
            for name, _, times, work in cases:
                taken[name].append(timed(times, work))
        for name, calls, _, _ in cases:
            samples = taken[name]
            line = {
                "row": name,
                "calls": calls,
                "median_ns": statistics.median(samples),
                "range_ns": [min(samples), max(samples)],
                "rounds": rounds,
            }
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
