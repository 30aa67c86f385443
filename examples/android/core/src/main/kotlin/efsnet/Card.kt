package efsnet

import org.json.JSONArray
import org.json.JSONObject

/** What a model's outputs mean, and its rules: `postprocess` of a card. */
class Rules(
    val labels: List<String>,
    val minimumLesionFraction: Double,
    val normalGate: Double?,
    val refer: ReferralRule?
)

/** Reads a model's card.json; rules that it lacks are off. */
fun readCard(text: String): Rules {
    val card = JSONObject(text)
    val tasks = card.optJSONArray("tasks")
    require(tasks == null || tasks.length() == 2) {
        "card.json: tasks are $tasks; this app needs a model of both mask and class."
    }
    val labels = card.getJSONArray("labels")
    return readRules(
        card.optJSONObject("postprocess") ?: JSONObject(),
        List(labels.length()) { labels.getString(it) }
    )
}

internal fun readRules(facts: JSONObject, labels: List<String>) = Rules(
    labels,
    facts.optDouble("minimum_lesion_fraction", 0.0),
    if (facts.isNull("normal_gate")) null else facts.getDouble("normal_gate"),
    facts.optJSONObject("refer")?.let { readReferralRule(it) }
)

private fun readReferralRule(facts: JSONObject) = ReferralRule(
    facts.getDouble("minimum_class_probability"),
    facts.getDouble("minimum_mask_margin"),
    facts.optDouble("malignancy_limit", 1.0),
    facts.optJSONObject("look")?.let { readAppearance(it) }
)

internal fun readAppearance(facts: JSONObject): Appearance {
    val rows = facts.getJSONArray("inverse_covariance")
    return Appearance(
        readNumbers(facts.getJSONArray("mean")),
        List(rows.length()) { readNumbers(rows.getJSONArray(it)) },
        facts.getDouble("maximum_distance")
    )
}

private fun readNumbers(list: JSONArray) = DoubleArray(list.length()) { list.getDouble(it) }
