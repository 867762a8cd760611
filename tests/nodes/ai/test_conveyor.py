"""The model that ships, on belts that it never saw. `python -m flowcore_nodes.ai.train evaluate` judges on more."""

from flowcore_nodes.ai.engines import path_of
from flowcore_nodes.ai.train.belts import CALIBRATION_SEEDS, TRAINING_SEEDS, UNSEEN_SEEDS
from flowcore_nodes.ai.train.evaluate import average_precision, evaluate


def test_parts_of_unseen_belts_are_found_and_counted(record_property):
    """mAP50 of at least 0.95, and at most one count in a hundred is wrong."""
    assert not {*UNSEEN_SEEDS} & {*TRAINING_SEEDS, *CALIBRATION_SEEDS}
    file = path_of("builtin:conveyor")
    assert file.stat().st_size < 1_000_000
    found = evaluate(file, seeds=2, seconds=20)
    record_property("conveyor", found)
    print(found)
    assert found["mAP50"] >= 0.95 and found["count_error"] <= 0.01
    assert found["precision"] >= 0.95 and found["recall"] >= 0.95 and found["parts"] > 250


def test_average_precision_is_the_area_under_the_curve():
    """Worked out by hand: right, wrong, right, of four that are there."""
    assert average_precision([(0.9, True), (0.8, False), (0.7, True)], 4) == (1 + 2 / 3) / 4
    assert average_precision([], 0) == 1 and average_precision([(0.5, False)], 0) == 0 and average_precision([], 3) == 0
