"""What the demo says about other seeds."""

from unreid.engine.commands.demo import spread


def test_the_spread_is_said_of_the_shipped_config_only() -> None:
    assert "58.2 ± 1.7" in spread(None, [])
    assert spread(None, ["SEED", "2", "OUTPUT_DIR", "elsewhere"])
    assert not spread(None, ["OPTIM.EPOCHS", "10"])
    assert not spread("ISE_synthetic.yml", [])
