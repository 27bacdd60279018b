"""The three papers' caption tasks. Their wording is our own, for none of them is published whole; `--tasks FILE` replaces it.

    aurola       from the sound and what is known of it: a long caption, a short one, tags
    oea          from a caption, four ways a user would ask for the sound, and one that rules another sound out
    robust_atr   seven captions of a sound, each asked for otherwise; `harken captions filter` keeps those that fit it

Source: AuroLA (multi-granular captions), OEA (user-intent queries; temperature 0.35, top-p 0.9, 256 tokens, length of the
caption -/+ 2 words), Robust-ATR (seven prompts, CLAP scores).
"""

from .task import CaptionTask, Example

_LISTEN = "You describe sounds for a search engine, in plain English. Say only what can be heard; never guess at what is seen."
_REWRITE = "You write what people type when they look for a sound. Keep every fact of the description and add none."

AUROLA = (
    CaptionTask(
        name="aurola",
        system=_LISTEN,
        prompt=(
            "Listen to the sound. What is known of it, which may be wrong or tell of things that cannot be heard:\n"
            "{metadata}\n"
            'Answer with a JSON object: "long", one or two sentences that tell the sources, their order, loudness and place; '
            '"short", the main event in at most ten words; "tags", three to eight sound events of one to three words.'
        ),
        reply={"long": "text", "short": "text", "tags": "list"},
        hears=True,
        examples=(
            Example(
                {"metadata": "title: kitchen 04\ntags: kettle, field recording"},
                '{"long": "A kettle hums ever louder until it whistles, then a switch clicks and the water settles.", '
                '"short": "A kettle boils and switches off", "tags": ["kettle", "boiling water", "whistle", "click"]}',
            ),
            Example(
                {"metadata": "labels: dog, wind"},
                '{"long": "A dog barks three times some way off while wind blows across the microphone.", '
                '"short": "A distant dog barks in the wind", "tags": ["dog bark", "wind", "outdoors"]}',
            ),
        ),
    ),
)

_CAPTION = "A tractor passes slowly while hens cluck"


def _query(name: str, prompt: str, reply: str, *, free: bool = False) -> CaptionTask:
    length = "" if free else " Use {min_words} to {max_words} words."
    return CaptionTask(
        name=name,
        system=_REWRITE,
        prompt=f"Caption: {{caption}}\n{prompt}{length} Answer with it alone.",
        reply={"query": "text"},
        examples=(Example({"caption": _CAPTION, "min_words": "5", "max_words": "9"}, reply),),
        max_words_off=None if free else 2,
    )


OEA = (
    _query("question", "Ask for this sound with a question.", "Where does a tractor pass clucking hens?"),
    _query("imperative", "Ask for this sound with a command.", "Find a tractor slowly passing clucking hens"),
    _query("paraphrase", "Say the same in other words.", "Hens cluck as a tractor rolls by"),
    _query("tagging", "Give its key phrases, with commas between.", "slow tractor, clucking hens", free=True),
    CaptionTask(
        name="negative",
        system=_REWRITE,
        prompt=(
            "Target: {caption}\nNegative: {negative}\n"
            "Ask for the target and rule out what only the negative has. Answer with the query alone."
        ),
        reply={"query": "text"},
        examples=(
            Example(
                {"caption": _CAPTION, "negative": "A tractor passes slowly while a dog barks"},
                "A slow tractor passing hens, without any dog",
            ),
        ),
    ),
)

_ANGLES = {
    "plain": "Describe this sound in one sentence.",
    "sources": "Name everything that makes a sound here, in one sentence.",
    "order": "Tell in one sentence what happens first and what follows.",
    "quality": "Describe in one sentence how it sounds: loud or soft, high or low, steady or broken.",
    "place": "Tell in one sentence where this seems to be and what is heard there.",
    "background": "Tell in one sentence what is heard in front and what behind it.",
    "brief": "Describe this sound in at most eight words.",
}
ROBUST_ATR = tuple(
    CaptionTask(
        name=name, system=_LISTEN, prompt=f"{prompt} Answer with it alone.", reply={"caption": "text"}, hears=True
    )
    for name, prompt in _ANGLES.items()
)

PIPELINES: dict[str, tuple[CaptionTask, ...]] = {"aurola": AUROLA, "oea": OEA, "robust_atr": ROBUST_ATR}
