"""Which addresses the server of a page answers at."""

import pytest

from lookonce.web.server import names_this_machine


@pytest.mark.parametrize(
    ("host", "is_this"),
    [
        ("127.0.0.1:8010", True),
        ("localhost", True),  # at port 80 browsers leave the port out
        ("127.0.0.1", True),
        ("[::1]:80", True),
        ("", False),
        ("example.org:8010", False),
        ("127.0.0.1.example.org", False),
        ("[", False),
    ],
)
def test_names_of_this_machine_with_and_without_a_port(host: str, is_this: bool) -> None:
    assert names_this_machine(host) == is_this
