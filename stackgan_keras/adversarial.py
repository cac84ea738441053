"""How do the two players take one step? The same update for both stages.

What differs between the stages is in the networks handed over: the heads of the discriminator and the frozen part of
the generator.
"""

import tensorflow as tf

from stackgan_keras import losses, models

NUDGE = 0.03  # how far along a direction a slope is measured, in pictures of [-1, 1]; bfloat16 would not see much less


def make_update(
    generator,
    discriminator,
    generator_optimizer,
    discriminator_optimizer,
    *,
    text: str = "mean",
    penalty_weight: float = 0.0,
    kl_weight: float = 2.0,
    likeness_weight: float = 0.0,
    picture_encoder=None,
    anew_weight: float = 0.0,
    noise_encoder=None,
    noise_kl_weight: float = 0.001,
    edges_weight: float = 0.0,
):
    """A function that updates both players once on a batch and returns the scalars to log.

    `text` says what the discriminator reads of a sentence, as it was built: the generator's `mean` or the `embedding`.
    `update(batch)` takes this replica's equal share of the global batch (`stream.py` says what is in it) and runs
    inside `strategy.run` or on one device. Every scalar it returns is this replica's part of a mean over the global
    batch: sum them over the replicas. Source: the training loop of the PyTorch release.

    With `penalty_weight` the discriminator pays for how steep its logits are at real pictures (Mescheder et al., ICML
    2018), measured along a random `direction` of the batch: a gradient of gradients would need TensorFlow's
    `all_reduce` to be differentiable twice, and in a graph it is not (2.21: a wrong gradient).

    A generator may pay for two more things, which the release does not know: with `likeness_weight` its pictures are
    to be read by the frozen `picture_encoder` like the real pictures of the same sentences (after Dosovitskiy and Brox,
    NIPS 2016, equation 2), in parts of how far real ones are read apart from their mean, so that whoever ignores the
    sentence pays 1 at least; with `anew_weight` real pictures are to be made anew as well, as `make_alone_update` says
    (beside the players' game it is the per-pixel loss of Isola et al., "Image-to-Image Translation with Conditional
    Adversarial Networks", CVPR 2017).
    """
    encode_image = discriminator.get_layer("encode_image")
    heads = {name: discriminator.get_layer(name) for name in discriminator.output}
    weights = {"anew": 1.0, "edges": edges_weight, "noise_kl": noise_kl_weight}
    weights = {"likeness": likeness_weight, **{name: anew_weight * weight for name, weight in weights.items()}}
    make_anew, learning = None, generator.trainable_variables
    if anew_weight:
        make_anew, learning = _make_anew(generator, noise_encoder, edges=edges_weight > 0)

    def judge(features, sentence):
        """Logits of every head for pictures' features, each picture with its own sentence."""
        inputs = {"matched": {"features": features, "text": sentence}, "real": features}
        return {name: head(inputs[name], training=True) for name, head in heads.items()}

    def update(batch):
        share = Share(tf.distribute.get_replica_context(), tf.shape(batch["image"])[0])

        with tf.GradientTape() as generator_tape:
            made = generator({name: batch[name] for name in generator.input}, training=True)
        sentence = {"mean": tf.stop_gradient(made["mean"]), "embedding": batch["embedding"]}[text]
        fake = tf.stop_gradient(made["image"])

        with tf.GradientTape() as discriminator_tape:
            features_of_real = encode_image(batch["image"], training=True)
            features_of_fake = encode_image(fake, training=True)
            on_real = judge(features_of_real, sentence)
            wrong_sentence = share.following(sentence)
            pairs = tf.shape(wrong_sentence)[0]  # the last picture of the global batch has no next sentence
            on_mismatched = heads["matched"](
                {"features": features_of_real[:pairs], "text": wrong_sentence}, training=True
            )
            on_fake = judge(features_of_fake, sentence)

            real = {name: share.mean(losses.binary_cross_entropy(x, 1.0)) for name, x in on_real.items()}
            fooled = {name: share.mean(losses.binary_cross_entropy(x, 0.0)) for name, x in on_fake.items()}
            # pairs of one class are judged but cost nothing
            of_two_classes = batch["class_id"][:pairs] != share.following(batch["class_id"])
            mismatched = share.mean_where(of_two_classes, losses.binary_cross_entropy(on_mismatched, 0.0))
            paid_by_discriminator = losses.discriminator_loss([*real.values()], [mismatched, *fooled.values()])
            charged, steepness = paid_by_discriminator, {}
            if penalty_weight:
                on_nudged = judge(encode_image(batch["image"] + NUDGE * batch["direction"], training=True), sentence)
                slopes = [losses.gradient_penalty(on_real[name], on_nudged[name], NUDGE) for name in heads]
                steepness["penalty"] = sum(share.mean(slope) for slope in slopes) / len(slopes)
                charged += penalty_weight * steepness["penalty"]
            scaled = discriminator_optimizer.scale_loss(charged)
        _apply(discriminator_optimizer, discriminator_tape, scaled, discriminator.trainable_variables)

        with generator_tape:
            on_fake_now = judge(encode_image(made["image"], training=True), sentence)
            paid = sum(share.mean(losses.binary_cross_entropy(x, 1.0)) for x in on_fake_now.values())
            kl = kl_of(made, share)
            wanted = {}
            if likeness_weight:
                wanted["likeness"] = _likeness(picture_encoder, made["image"], batch["image"], share)
            if anew_weight:
                wanted |= make_anew(batch, share)[1]
            extra = sum(weights[name] * loss for name, loss in wanted.items())
            scaled = generator_optimizer.scale_loss(paid + kl_weight * kl + extra)
        _apply(generator_optimizer, generator_tape, scaled, learning)

        return {
            "discriminator": paid_by_discriminator,
            "mismatched": mismatched,
            **{_metric("real", head): loss for head, loss in real.items()},
            **{_metric("fake", head): loss for head, loss in fooled.items()},
            "generator": paid,
            "kl": kl,
            **steepness,
            **wanted,
        }

    return update


def make_alone_update(
    generator,
    optimizer,
    *,
    noise_encoder=None,
    noise_kl_weight: float = 0.001,
    edges_weight: float = 0.0,
    kl_weight: float = 2.0,
    likeness_weight: float = 0.0,
    picture_encoder=None,
):
    """As `make_update`, but the generator learns alone, to make real pictures anew out of what is left of them.

    That is the `sketch` in the batch. A Stage I makes the picture from the noise that the `noise_encoder` reads in it,
    which learns along (Zhu et al., "Toward Multimodal Image-to-Image Translation", NeurIPS 2017), as does the
    generator's noise flow, if it has one, to bring other noise there (Chen et al., "Variational Lossy Autoencoder",
    ICLR 2017, section 3.2). A Stage II makes it from the sketch itself (the start with a per-pixel loss alone is from
    Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a GAN", CVPR 2017). What that does not show, only
    the sentence can tell.

    With `edges_weight` steps between neighbouring pixels are to be right as well as pixels (`losses.edges`). With
    `noise_kl_weight` it costs to read much in a picture, so that any noise is that of one (Higgins et al.,
    "beta-VAE", ICLR 2017). With `likeness_weight` the frozen `picture_encoder` is to read the picture like the one it
    is made anew of (as `make_update` says), which is where small parts count that few pixels show.
    """
    make_anew, learning = _make_anew(generator, noise_encoder, edges=edges_weight > 0)
    weights = {"likeness": likeness_weight, "anew": 1.0, "edges": edges_weight, "noise_kl": noise_kl_weight}

    def update(batch):
        share = Share(tf.distribute.get_replica_context(), tf.shape(batch["image"])[0])
        with tf.GradientTape() as tape:
            made, paid = make_anew(batch, share)
            kl = kl_of(made, share)
            if likeness_weight:
                paid["likeness"] = _likeness(picture_encoder, made["image"], batch["image"], share)
            scaled = optimizer.scale_loss(kl_weight * kl + sum(weights[name] * loss for name, loss in paid.items()))
        _apply(optimizer, tape, scaled, learning)
        return {**paid, "kl": kl}

    return update


def make_flow_update(generator, optimizer, *, noise_encoder):
    """As `make_alone_update` of a Stage I, but only its noise flow learns, and nothing costs but the noise.

    While all learn together the flow is always late: it learns where the `noise_encoder` read noise some steps ago.
    Once that stays as it is, in inference mode, the flow can catch up (Dai and Wipf, "Diagnosing and Enhancing VAE
    Models", ICLR 2019, do so with a second autoencoder).
    """
    flow = models.find_flow(generator)
    read_noise = _noise_reader(flow, noise_encoder)

    def update(batch):
        share = Share(tf.distribute.get_replica_context(), tf.shape(batch["image"])[0])
        with tf.GradientTape() as tape:
            _, kl = read_noise(batch, share, training=False)
            scaled = optimizer.scale_loss(kl)
        _apply(optimizer, tape, scaled, flow.trainable_variables)
        return {"noise_kl": kl}

    return update


def _make_anew(generator, noise_encoder, edges: bool):
    """A function of a batch and its share that makes real pictures anew, and the variables that can learn to.

    It returns what the generator made and what is paid for it: `anew`, its pixels, if asked for `edges`, the steps
    between them, and where an encoder reads noise in the pictures `noise_kl`, how much more than by chance that tells.
    """
    if models.is_second(generator):
        make, learning = _make_of_sketch(generator), generator.trainable_variables
    else:
        make = _make_of_noise(generator, noise_encoder)
        learning = generator.trainable_variables + noise_encoder.trainable_variables

    def make_anew(batch, share):
        made, told = make(batch, share)
        off = {"anew": losses.reconstruction, **({"edges": losses.edges} if edges else {})}
        return made, {name: share.mean(paid(made["image"], batch["image"])) for name, paid in off.items()} | told

    return make_anew, learning


def _make_of_noise(generator, noise_encoder):
    painter, read_noise = models.painter(generator), _noise_reader(models.find_flow(generator), noise_encoder)

    def make(batch, share):
        noise, kl = read_noise(batch, share, training=True)
        given = {**batch, "noise": noise}
        made = painter({name: given[name] for name in painter.input}, training=True)
        return made, {"noise_kl": kl}

    return make


def _noise_reader(flow, noise_encoder):
    """A function that draws the noise read in a batch's pictures, and says how much more than by chance it tells.

    By chance is as the `flow` makes it or, without one, standard normal.
    """
    back = models.flow_back(flow) if flow else None

    def read_noise(batch, share, training: bool):
        read = noise_encoder(batch["sketch"], training=training)
        noise = models.drawn_around(read, batch["noise"])
        if back is None:
            return noise, kl_of(read, share)
        came_from = back(noise, training=training)
        return noise, share.mean(losses.flow_divergence(**came_from, log_variance=read["log_variance"]))

    return read_noise


def _make_of_sketch(generator):
    finisher = models.finisher(generator)

    def make(batch, share):
        return finisher({name: batch[name] for name in finisher.input}, training=True), {}

    return make


def _read(picture_encoder, pictures):
    return picture_encoder(losses.shrink(pictures, picture_encoder.input_shape[1]), training=False)


def _likeness(picture_encoder, pictures, real, share):
    """How far pictures are read from the real ones, in parts of how far those are read apart from their mean."""
    seen, of_real = (_read(picture_encoder, each) for each in (pictures, real))
    everyones = share.everyone(of_real)
    apart = tf.reduce_mean(losses.likeness(everyones, tf.reduce_mean(everyones, axis=0)))
    alike = apart < 1e-6 * tf.reduce_mean(tf.reduce_sum(everyones**2, axis=-1))  # nothing to measure by
    apart = tf.where(alike, tf.zeros_like(apart), apart)
    return tf.math.divide_no_nan(share.mean(losses.likeness(seen, of_real)), apart)


def kl_of(made, share):
    """This replica's part of the mean KL divergence of what is drawn around `made["mean"]`, 0 where nothing is."""
    if "log_variance" not in made:
        return tf.zeros((), made["image"].dtype)
    return share.mean(losses.kl_divergence(made["mean"], made["log_variance"]))


def _metric(pictures: str, head: str) -> str:
    return pictures if head == "matched" else f"{pictures}_unconditional"


def _apply(optimizer, tape, loss, variables):
    optimizer.apply(tape.gradient(loss, variables), variables)


class Share:
    """This replica's part of the global batch, and means over the whole of it."""

    def __init__(self, context, size):
        self.context = context
        self.size = size
        self.total = size * context.num_replicas_in_sync  # examples in the global batch
        self.before = context.replica_id_in_sync_group * size  # rows of other replicas

    def mean(self, values):
        """This replica's part of the global mean: a sum over its share, divided by the global count."""
        return tf.reduce_sum(values) / tf.cast(self.total, values.dtype)

    def mean_where(self, chosen, values):
        """This replica's part of the global mean over the chosen values alone, 0 if there are none."""
        weights = tf.cast(chosen, values.dtype)
        count = self.context.all_reduce(tf.distribute.ReduceOp.SUM, tf.reduce_sum(weights))
        return tf.math.divide_no_nan(tf.reduce_sum(weights * values), count)

    def everyone(self, values):
        """The rows of the whole global batch; no gradient passes.

        A sum of zero-padded shares gathers them: TensorFlow 2.21's `all_gather` fails across machines.
        """
        padding = [[self.before, self.total - self.before - self.size], *[[0, 0]] * (len(values.shape) - 1)]
        return self.context.all_reduce(tf.distribute.ReduceOp.SUM, tf.stop_gradient(tf.pad(values, padding)))

    def following(self, values):
        """For each row of this share the next row of the global batch; the very last one has none."""
        return self.everyone(values)[self.before + 1 : self.before + 1 + self.size]
