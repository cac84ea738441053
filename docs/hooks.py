"""What the site shows of the repository outside docs/: some pages, and the images that pages link to.

Pages link as in the repository, `../results/readme/page.png`, and so can be read there too. On the site such links
lead to the same page or image, to the repository where mkdocs.yml has a `repo_url`, or else are plain text.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

REPOSITORY = Path(__file__).resolve().parents[1]
CARDS = ("weights/flowers/README.md", "weights/birds/README.md")
PAGES = ("CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md", *CARDS)
IMAGES = "results/readme/*.*[gf]"  # .png and .gif
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files, config):
    for path in (*PAGES, *(path.relative_to(REPOSITORY).as_posix() for path in sorted(REPOSITORY.glob(IMAGES)))):
        files.append(File.generated(config, path, abs_src_path=str(REPOSITORY / path)))
    return files


def on_page_markdown(markdown, page, config, files):
    here = page.file.src_uri
    folder = posixpath.dirname(here if here in PAGES else f"docs/{here}")  # in the repository

    def led(link: re.Match) -> str:
        image, text, target, anchor = link[1], link[2], link[3], link[4] or ""
        place = posixpath.normpath(posixpath.join(folder, target))
        on_site = place.removeprefix("docs/")
        if "://" in target or not (REPOSITORY / place).exists():
            return link[0]  # mkdocs warns where it leads nowhere
        if files.get_file_from_path(on_site):
            return f"{image}[{text}]({posixpath.relpath(on_site, posixpath.dirname(here) or '.')}{anchor})"
        return f"[{text}]({config.repo_url}/blob/main/{place})" if config.repo_url else text

    return LINK.sub(led, markdown)
