package efsnet

import kotlin.math.abs

/**
 * The limits at which a person should review a prediction: `refer` of a card.
 *
 * @property malignancyLimit refers what is called normal or benign; 1 is off
 * @property look null accepts any image
 */
class ReferralRule(
    val minimumClassProbability: Double,
    val minimumMaskMargin: Double,
    val malignancyLimit: Double,
    val look: Appearance?
)

/**
 * Why a person should look; empty where no rule fired.
 *
 * @param label the predicted class
 * @param probabilities by class
 * @param margin from [maskMargin]
 * @param isLesionFound before the normal gate
 * @param image the network's input
 */
internal fun findReasons(
    rule: ReferralRule,
    label: String,
    probabilities: Map<String, Double>,
    margin: Double,
    isLesionFound: Boolean,
    image: Grey?
): List<String> {
    val isSuspicious = (probabilities["malignant"] ?: -1.0) >= rule.malignancyLimit
    val isOther = rule.look != null && image != null && !rule.look.accepts(image)
    val objections = listOf(
        "malignancy not excluded" to (isSuspicious && label != "malignant"),
        "class unsure" to (probabilities.getValue(label) < rule.minimumClassProbability),
        "mask margin low" to (margin < rule.minimumMaskMargin),
        "mask and class disagree" to
            ("normal" in probabilities && (label == "normal") == isLesionFound),
        "does not look like B-mode" to isOther
    )
    return objections.filter { it.second }.map { it.first }
}

/** How far the network is from the other answer to "is there a lesion?"; 1 is sure. */
internal fun maskMargin(mask: Probability): Double {
    val most = mask.values.fold(0f) { most, value -> maxOf(most, value) }
    return abs(2 * most.toDouble() - 1)
}
