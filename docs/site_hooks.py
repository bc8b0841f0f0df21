"""What the site's build does beside MkDocs: the list of decisions, the Thai font, and a check of translations."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
FONT = DOCS.parent / "src" / "whatsit" / "fonts" / "Sarabun-Regular.ttf"
# Warnings of MkDocs' own loggers end a strict build.
log = logging.getLogger("mkdocs.hooks.whatsit")


def on_config(config: Any) -> Any:
    """Put every decision into the navigation, and see to it that each title there has a Thai one."""
    for section in config.nav:
        if isinstance(section, dict) and "Decisions" in section:
            pages = sorted(path.name for path in (DOCS / "decisions").glob("[0-9]*.md"))
            section["Decisions"] = ["decisions/index.md", *(f"decisions/{name}" for name in pages)]
    languages = config.plugins["i18n"].config["languages"]
    [thai] = [language for language in languages if language["locale"] == "th"]
    for title in _titles(config.nav):
        if title not in thai["nav_translations"]:
            log.warning("mkdocs.yml: the title '%s' of the navigation has no Thai translation", title)
    for fault in translation_faults():
        log.warning("%s", fault)
    return config


def on_files(files: Any, config: Any) -> Any:
    """Bring the font that whatsit's own pages use for Thai."""
    from mkdocs.structure.files import File

    if files.get_file_from_path("assets/Sarabun.ttf") is None:
        files.append(File.generated(config, "assets/Sarabun.ttf", abs_src_path=str(FONT)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """List the decisions on their page, leave out what is for the tests, and let the site find the language of links."""
    if page.file.src_uri == "decisions/index.md":
        found = sorted((DOCS / "decisions").glob("[0-9]*.md"))
        titles = [(path.name, path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")) for path in found]
        markdown += "\n" + "\n".join(f"- [{title}]({name})" for name, title in titles) + "\n"
    markdown = re.sub(r"(\]\([^)\s]+)\.th\.md(?=[)#])", r"\1.md", markdown)
    return re.sub(r"^ *<!-- docs-test: .*? -->\n+", "", markdown, flags=re.MULTILINE)


def translation_faults(docs: Path = DOCS) -> list[str]:
    """Return where a Thai page does not go with the English one: a page that is missing, other headings, other code or links."""
    faults = []
    for thai in sorted(docs.rglob("*.th.md")):
        name = thai.relative_to(docs)
        english = thai.with_name(thai.name.replace(".th.md", ".md"))
        if not english.exists():
            faults.append(f"{name}: there is no {english.name} that it translates")
            continue
        one, other = (path.read_text(encoding="utf-8") for path in (english, thai))
        for what, parts in (("headings", _levels), ("code blocks", _blocks), ("links", _links)):
            if parts(one) != parts(other):
                faults.append(
                    f"{name}: its {what} are not those of {english.name}: {_difference(parts(one), parts(other))}"
                )
        there = [link for link in _links(other, as_written=True) if re.search(r"(?<!\.th)\.md$", link)]
        faults += [
            f"{name}: {link} is there in Thai, where readers of the files want to go: write .th.md"
            for link in there
            if (thai.parent / link).with_suffix(".th.md").exists()
        ]
    return faults


def _levels(text: str) -> list[str]:
    return [line.split(" ")[0] for line in _prose(text).splitlines() if line.startswith("#")]


def _blocks(text: str) -> list[str]:
    """The code blocks without their comments, which are translated."""
    blocks = re.findall(r"^( *)```(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    return [re.sub(r" +(#|//).*", "", block) for _, block in blocks]


def _links(text: str, *, as_written: bool = False) -> list[str]:
    """Where links lead, without anchors and pictures, which differ by language, and unless `as_written` without the language."""
    found = re.findall(r"(?<!\!)\[[^\]]*\]\(([^)#]+)[^)]*\)", _prose(text))
    links = sorted(link for link in found if not link.endswith(".webp"))
    return links if as_written else sorted(re.sub(r"\.th\.md$", ".md", link) for link in links)


def _prose(text: str) -> str:
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)


def _difference(one: list[str], other: list[str]) -> str:
    odd = [part for part in one if part not in other][:1] + [part for part in other if part not in one][:1]
    return "; ".join(part.strip()[:80] for part in odd) or "their order or number"


def _titles(nav: Any) -> list[str]:
    if isinstance(nav, list):
        return [title for part in nav for title in _titles(part)]
    if isinstance(nav, dict):
        return [found for title, inside in nav.items() for found in (title, *_titles(inside))]
    return []
