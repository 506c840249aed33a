"""The web half's count of tokens against the engine's: same numbers, same sentences."""

import random
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.driving import T2V, copy_of, edit_index, load, run, spec, task
from support.patience import until

from registry import Modality
from router.tokens import TokenCounter
from router.tokens.counter_child import clean

pytestmark = pytest.mark.slow

CAT = "A cat surfs on a wave at sunset, and the camera follows. "
TEXTS = {
    "at the limit": "x" * 510,
    "one more": "x" * 511,
    "English": CAT * 40,
    "Chinese": "一只猫在日落时冲浪，" * 60,
    "emoji": "🐈👨‍👩‍👧🏄🏽" * 80,
    "broken UTF-8": "schÃ¶ne cafÃ© â€œquotedâ€\x9d " * 60,
    "entities": "&amp;lt;b&amp;gt; &#x41; &quot;x&quot; " * 60,
    "white space": "  a \t\r\n b\u3000c\u00a0d\u2028e\u0085f  " * 100,
    "control": "a\x00b\x1fc\x7fd\u200be\ufeff \x1b[31mred\x1b[0m " * 60,
    "composed": "ﬁ ﬃ ﷺ Ｆｕｌｌ ½ e\u0301 \u1100\u1161 " * 60,
    "of a few letters": "aab " * 400,
    **{f"{letters} letters, then emoji": "x" * letters + " 🎈 x 猫" * 250 for letters in range(4)},
}


def of_nano(family: Path, tmp_path: Path) -> Path:
    return family / T2V


def of_pieces(family: Path, tmp_path: Path) -> Path:
    """Return a folder like the published ones: a T5 tokenizer of Unigram pieces."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    folder = copy_of(family / T2V, tmp_path)
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = ["<pad>", "</s>", "<s>", "<unk>"]
    alphabet = sorted(set(CAT) | set("x"))
    trainer = trainers.UnigramTrainer(
        vocab_size=200, special_tokens=special, unk_token="<unk>", initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([CAT] * 20, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    (folder / "tokenizer/tokenizer_config.json").unlink()
    tokenizer.save(str(folder / "tokenizer/tokenizer.json"))
    edit_index(folder, tokenizer=["transformers", "T5TokenizerFast"])
    return folder


@pytest.mark.parametrize("make", [of_nano, of_pieces])
def test_both_halves_say_the_same(family: Path, tmp_path: Path, pool: Any, make: Callable[[Path, Path], Path]) -> None:
    from diffusers.pipelines.wan.pipeline_wan import prompt_clean

    folder = make(family, tmp_path)
    model = replace(spec(folder, Modality.T2V), prompt_tokens=512)
    loaded, counter = load(model, pool), TokenCounter(lambda model: model.folder)
    until(lambda: counter.warnings(model, task(prompt="x" * 8000)))

    sentences: dict[str, Any] = {}
    for name, text in TEXTS.items():
        asked = task(prompt=text, negative_prompt=text[1:], steps=1, num_frames=1)
        sentences[name] = (counter.warnings(model, asked), run(model, loaded, asked).warnings)

    assert {name: web for name, (web, _) in sentences.items()} == {
        name: engine for name, (_, engine) in sentences.items()
    }
    assert (len(sentences["at the limit"][0]), len(sentences["English"][0])) == (0, 2)
    tokenizer = loaded.parts["tokenizer"]
    read = tokenizer(prompt_clean(TEXTS["English"]), max_length=512, truncation=True).input_ids
    end = tokenizer.decode(read, skip_special_tokens=True)[-20:].lower()
    assert sentences["English"][0][0].lower().endswith(f'{end}"')


def test_a_prompt_is_cleaned_as_the_pipeline_does() -> None:
    from diffusers.pipelines.wan.pipeline_wan import prompt_clean

    letters = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    drawn, entities = (
        random.Random(1),
        ["&amp;", "&amp;lt;", "&#x1c;", "&#0;", "&#133;", "&nbsp;", "&#xD800;", "&#11;", "Ã©", "\r\n"],
    )
    texts = [f"{letter} a{letter}{letter}b{letter}" for letter in letters[:0x3100]]
    texts += ["".join(drawn.choices(letters[:0x250] + entities * 20, k=60)) for _ in range(2000)]
    texts += ["".join(drawn.choices(letters, k=60)) for _ in range(2000)]

    assert [text for text in (*texts, *TEXTS.values()) if clean(text) != prompt_clean(text)] == []
