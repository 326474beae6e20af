"""Which addresses the server of a page answers at."""

from http.client import HTTPConnection
from threading import Thread

import pytest

from lookonce.web.server import LOOPBACK, names_this_machine, serving_answers


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


def test_the_headers_of_a_page_can_be_asked_for_alone() -> None:
    with serving_answers(lambda _: ("text/plain", b"text"), 0) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        connection = HTTPConnection(LOOPBACK, server.server_port)
        connection.request("HEAD", "/")  # as curl -I
        answer = connection.getresponse()
        server.shutdown()
    assert (answer.status, answer.headers["Content-Length"], answer.read()) == (200, "4", b"")
