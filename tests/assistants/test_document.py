"""docs/assistants.md against what is known: each assistant with its needs, and the version that it was run with."""

from pathlib import Path

from runner.assistants.knowledge import load, names

TEXT = (Path(__file__).parents[2] / "docs" / "assistants.md").read_text(encoding="utf-8")
_WIRES = {
    "openai-chat": "OpenAI, chat",
    "openai-responses": "OpenAI, responses",
    "anthropic": "Anthropic",
    "ollama": "Ollama",
}


def test_every_assistant_has_its_row_and_its_lines() -> None:
    rows = {
        cells[1].strip("`"): cells
        for line in TEXT.splitlines()
        if line.startswith("|") and len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 6
    }
    assert set(rows) - {"name", "---"} == set(names())
    for name in names():
        assistant = load(name)
        _, _, wire, tools, context, run = rows[name]
        assert wire == _WIRES[assistant.wire]
        assert tools == ("needed" if assistant.tools else "not needed")
        assert context == f"{assistant.context:,}"
        assert run == (assistant.verified or "not run: by its documents")
        section = TEXT.partition(f"\n### {assistant.title}\n")[2].partition("\n### ")[0]
        assert f"`runner launch {name}`" in section
