"""Writes the dashboards as Grafana reads them: `python -m grafana.build`. A test compares the committed."""

from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana.load_test import load_test

DASHBOARDS = Path(__file__).resolve().parent / "dashboards"


def generated() -> dict[str, str]:
    """File name -> its text."""
    text: str = JSONEncoder(sort_keys=True, indent=2).encode(load_test().build())
    return {"load-test.json": text + "\n"}


if __name__ == "__main__":
    for name, text in generated().items():
        (DASHBOARDS / name).write_text(text, encoding="utf-8")
        print(f"wrote {DASHBOARDS / name}")
