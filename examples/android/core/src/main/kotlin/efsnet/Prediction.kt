package efsnet

/** The cut of every calibrated model. */
private const val THRESHOLD = 0.5f

/**
 * The result for one image, in that image's pixels.
 *
 * @property lesions the mask after all rules, with its area and boxes
 * @property label the most probable class
 * @property probabilities by class, in the model's order
 * @property isEmptied the normal gate removed a lesion from the mask
 * @property refer why a person should look; empty where no rule fired
 */
class Prediction(
    val lesions: Lesions,
    val label: String,
    val probabilities: Map<String, Double>,
    val isEmptied: Boolean,
    val refer: List<String>
)

/**
 * Turns the network's output for one image into a prediction.
 *
 * @param mask output `mask`, at the network's size
 * @param classes output `class`
 * @param height the image's own
 * @param width the image's own
 * @param image the network's input, for its margins and its look; null skips both
 */
fun postprocess(
    mask: Probability,
    classes: FloatArray,
    height: Int,
    width: Int,
    rules: Rules,
    image: Grey?
): Prediction {
    require(classes.size == rules.labels.size) {
        "card.json has ${rules.labels.size} labels, the model ${classes.size} classes."
    }
    val probabilities = rules.labels.zip(classes.map { it.toDouble() }).toMap()
    val label = rules.labels.fold(rules.labels.first()) { best, other ->
        if (probabilities.getValue(other) > probabilities.getValue(best)) other else best
    }
    val lesion = cut(resizeProbability(mask, height, width))
    if (image != null) emptyMargins(lesion, image)
    val found = splitComponents(lesion, rules.minimumLesionFraction * lesion.pixels.size)
    val isLesionFound = found.boxes.isNotEmpty()
    val refer = rules.refer?.let {
        findReasons(it, label, probabilities, maskMargin(mask), isLesionFound, image)
    }
    val isGated = rules.normalGate != null && label == "normal" &&
        probabilities.getValue(label) >= rules.normalGate
    val kept = if (isGated) emptied(height, width) else found
    return Prediction(kept, label, probabilities, isGated && isLesionFound, refer.orEmpty())
}

private fun cut(map: Probability) = Grey(
    map.height,
    map.width,
    ByteArray(map.values.size) { if (map.values[it] > THRESHOLD) 1 else 0 }
)

private fun emptied(height: Int, width: Int) =
    Lesions(Grey(height, width, ByteArray(height * width)), 0, emptyList())
