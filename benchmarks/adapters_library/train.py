"""Contender (b): adapters trained by the `adapters` library and the Trainer of transformers.

Plain training, no meta-learning, on the same questions as the other contenders, padded to the longest text of
a batch. Runs in an environment of its own (see ``make_env.sh``): ``train.py WORK OUT SETTING [steps=N]
[evaluate=yes]``. WORK is described in ``common.py``: the encoder and the token ids come as files, so no
tokenizer is needed here.
"""

import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import BertModel, Trainer, TrainerCallback, TrainingArguments

import adapters

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import measure
from plain_loop import Inputs, Question, choice_loss, choice_scores, collate

NAME = "task"


class Scored(nn.Module):
    """The library's model with the scorer of the other contenders."""

    def __init__(self, bert: BertModel) -> None:
        super().__init__()
        self.bert = bert
        self.scorer = nn.Parameter(torch.eye(bert.config.hidden_size))

    def scores(self, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
        """See :func:`plain_loop.choice_scores`."""
        hidden = self.bert(input_ids=inputs.ids, attention_mask=inputs.mask).last_hidden_state
        return choice_scores(hidden, inputs.mask, self.scorer, inputs.direction)

    def forward(self, ids: Tensor, mask: Tensor, labels: Tensor, direction: Tensor) -> dict[str, Tensor]:
        """The loss, as the Trainer wants it."""
        inputs = Inputs(ids, mask, labels, direction)
        return {"loss": choice_loss(*self.scores(inputs), inputs)}


class Clock(TrainerCallback):
    """Seconds from the end of each step to that of the next: batches are made in between."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.last = 0.0

    def on_train_begin(self, *arguments: Any, **named: Any) -> None:
        """Start."""
        self.last = time.perf_counter()

    def on_step_end(self, *arguments: Any, **named: Any) -> None:
        """Stop and start again."""
        now = time.perf_counter()
        self.seconds.append(now - self.last)
        self.last = now


def build(s: SimpleNamespace, work: Path, setting: str) -> Scored:
    """The encoder with fresh adapters, which begin with the weights of the other contenders."""
    bert = BertModel.from_pretrained(work / "encoder", add_pooling_layer=False)
    for module in bert.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # no contender has dropout
    for layer in bert.encoder.layer:
        layer.attention.self.dropout_prob = 0.0
    adapters.init(bert)
    layers = s.settings[setting]
    reduction = bert.config.hidden_size / s.bottleneck
    left_out = [i for i in range(bert.config.num_hidden_layers) if i not in layers]
    config = adapters.SeqBnConfig(reduction_factor=reduction, non_linearity="relu", leave_out=left_out)
    bert.add_adapter(NAME, config=config)
    bert.train_adapter(NAME)
    model = Scored(bert)
    for name, tensor in load_file(work / f"start-{setting}.safetensors").items():
        model.get_parameter(_name(name)).data.copy_(tensor)
    return model


def _name(name: str) -> str:
    if not name.startswith("adapted.task."):
        return name
    layer, part, kind = name.removeprefix("adapted.task.").split(".")
    where = {"down": "adapter_down.0", "up": "adapter_up"}[part]
    return f"bert.encoder.layer.{layer}.output.adapters.{NAME}.{where}.{kind}"


def batches(questions: list[Question]) -> dict[str, Tensor]:
    """The Trainer's collator: padded to the longest text."""
    return collate(questions, None)._asdict()


@torch.no_grad()
def answers(model: Scored, questions: list[Question], size: int) -> str:
    """A 1 for each question that is answered rightly, else a 0."""
    model.eval()
    right = ""
    for begin in range(0, len(questions), size):
        inputs = collate(questions[begin : begin + size], None)
        found = model.scores(inputs)[0].argmax(1) == inputs.labels
        right += "".join(str(int(r)) for r in found)
    return right


def main(work: str, out: str, setting: str, *arguments: str) -> None:
    """Train, and write the figures."""
    options = dict(a.split("=", 1) for a in arguments)
    s = SimpleNamespace(**measure.read_json(Path(work) / "settings.json"))
    torch.set_num_threads(s.threads)
    content = measure.read_json(Path(work) / "questions.json")
    episodes = content["episodes"][: int(options.get("steps", s.episodes))]
    questions = [content["train"][r] for e in episodes for part in ("support", "query") for r in e[part]]
    model, clock, memory = build(s, Path(work), setting), Clock(), measure.Memory()
    settings = TrainingArguments(
        output_dir=str(Path(work) / "trainer"),
        per_device_train_batch_size=s.support,
        num_train_epochs=1,
        learning_rate=s.outer_lr,
        use_cpu=True,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        seed=s.seed,
    )
    first = float(model(**batches(questions[: s.support]))["loss"].detach())
    trainer = Trainer(model, settings, batches, train_dataset=questions, callbacks=[clock])
    memory.loaded_now()
    trainer.train()
    # Batches are drawn at random, so a step counts as the mean of all.
    per_step = len(questions) / len(clock.seconds)
    tokens = sum(q["tokens"] for q in questions) / len(clock.seconds)
    steps = len(clock.seconds)
    result = measure.speeds(clock.seconds, [per_step] * steps, [tokens] * steps)
    result |= {"memory": memory.report(), "first_losses": [first], "dtype": "float32"}
    if options.get("evaluate") == "yes":
        result["right"] = answers(model, content["dev"], s.support)
    model.train()
    some = batches(questions[: s.support])
    operations = measure.count_operations(lambda: model(**some)["loss"].backward())
    result["operations_a_token"] = operations / sum(q["tokens"] for q in questions[: s.support])
    measure.write_json(out, result | {"versions": measure.versions()})


if __name__ == "__main__":
    main(*sys.argv[1:])
