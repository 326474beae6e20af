import pytest

from lookonce.weights.class_names import nearest

KNOWN = ("person", "bus", "wine glass", "traffic light", "sofa", "tvmonitor", "skis")


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("Pedestrians", "person"),
        ("Traffic_Lights", "traffic light"),
        ("BUS", "bus"),
        ("couch", "sofa"),
        ("TV", "tvmonitor"),
        ("glass", "wine glass"),
        ("ski", "skis"),
        ("raccoon", None),
        ("", None),
    ],
)
def test_other_words_and_spellings_of_a_class_are_found(name: str, known: str | None) -> None:
    assert nearest(name, KNOWN) == known
