"""Signs that an adversarial training goes wrong, from its figures."""

LONG = 5  # epochs in a row before a sign counts: single ones come and go
FIRST = 1000  # steps: before these, images are alike as nothing is learned yet
NO_LOSS = 0.05  # of a discriminator, below which its generator hardly gets a gradient
SURER = 2.0  # in the loss on real images: 0.5 beside 2.5 is a probability of 0.6 beside one of 0.08
ALIKE = 0.1  # of the standard deviation of real images


def warnings(lines: list[dict]) -> dict[str, str]:
    """What a user should know, by its name, of the figures of a training's epochs; nothing where all is well.

    `lines` are those of `metrics.jsonl`, oldest first, of which only the last count. Signs are a discriminator that no
    longer errs, one that knows its training images by heart (Karras et al. 2020, section 2: its loss on real images
    that it never saw), and a generator whose images are all alike.
    """
    found, last = {}, lines[-LONG:]
    if len(last) < LONG:
        return {}
    for name in last[-1]:
        if name.startswith("discriminator") and all(line.get(name, NO_LOSS) < NO_LOSS for line in last):
            found[name] = (
                f"the {name} loss has been below {NO_LOSS} for {LONG} epochs ({last[-1][name]:.4f} now), so the "
                "generator hardly learns: lower train.discriminator_learning_rate or set train.r1_weight"
            )
    if all(line.get("real_test", 0) - line.get("real_train", 0) > SURER for line in last):
        found["memorization"] = (
            f"the discriminator's loss on real images is {last[-1]['real_train']:.2f} for those that it trains on but "
            f"{last[-1]['real_test']:.2f} for others, so it knows its images by heart: take more images, end "
            "earlier by train.max_steps, or set train.augmentation translation,cutout if it is not set"
        )
    if all(line.get("spread", 1) < ALIKE and line["step"] > FIRST for line in last):
        found["spread"] = (
            f"the generated images are all alike (their standard deviation is {last[-1]['spread']:.1%} of that of real "
            "ones), so the training has collapsed: start over with lower learning rates or with train.r1_weight"
        )
    return found
