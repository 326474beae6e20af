from lookonce import torchrun


def test_a_machine_knows_its_address_towards_the_meeting_point() -> None:
    assert torchrun._address_towards("127.0.0.1:29400") == "127.0.0.1"
    assert torchrun._address_towards("no.such.host.invalid:1") is None
    assert torchrun._address_towards("nonsense") is None
