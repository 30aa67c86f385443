package efsnet

import java.io.File
import java.math.BigDecimal
import java.math.RoundingMode
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.Base64
import java.util.zip.InflaterInputStream
import kotlin.math.abs
import kotlin.system.exitProcess
import org.json.JSONArray
import org.json.JSONObject

/*
 * The conformance test: answers what `tests/vectors.json` asks, compares with Python's
 * answers, and reads a card. Prints a line for each group, and ends with 1 if an answer
 * differs.
 */

private val LABELS = listOf("normal", "benign", "malignant")

fun main(arguments: Array<String>) {
    val vectors = JSONObject(File(arguments[0]).readText())
    val groups = mapOf(
        "grey" to ::isGreyEqual,
        "resize_image" to ::isImageEqual,
        "resize_probability" to ::isProbabilityEqual,
        "postprocess" to ::isPredictionEqual
    )
    var different = 0
    for ((name, isEqual) in groups) {
        val cases = objects(vectors.getJSONArray(name))
        val wrong = cases.indices.filter { !isEqual(cases[it]) }
        println("$name: ${cases.size - wrong.size} of ${cases.size} equal" +
            if (wrong.isEmpty()) "" else ", different: $wrong")
        different += wrong.size
    }
    println("card: ${readCard(File(arguments[1]).readText()).labels.joinToString()}")
    exitProcess(if (different > 0) 1 else 0)
}

private fun isGreyEqual(case: JSONObject): Boolean {
    val (shape, bytes) = decode(case.getJSONObject("rgba"))
    val argb = IntArray(shape[0] * shape[1]) {
        val (red, green, blue) = List(3) { band -> bytes.get(4 * it + band).toInt() and 255 }
        val alpha = bytes.get(4 * it + 3).toInt() and 255
        (alpha shl 24) or (red shl 16) or (green shl 8) or blue
    }
    return isSame(toGrey(argb, shape[0], shape[1]), grey(case.getJSONObject("grey")))
}

private fun isImageEqual(case: JSONObject): Boolean {
    val (height, width) = integers(case.getJSONArray("size"))
    val resized = resizeImage(grey(case.getJSONObject("image")), height, width)
    return isSame(resized, grey(case.getJSONObject("resized")))
}

private fun isProbabilityEqual(case: JSONObject): Boolean {
    val (height, width) = integers(case.getJSONArray("size"))
    val map = probability(case.getJSONObject("probability"))
    val resized = resizeProbability(map, height, width)
    val wanted = probability(case.getJSONObject("resized"))
    return resized.height == wanted.height && resized.width == wanted.width &&
        resized.values.contentEquals(wanted.values)
}

private fun isPredictionEqual(case: JSONObject): Boolean {
    val (height, width) = integers(case.getJSONArray("size"))
    val classes = decode(case.getJSONObject("class_probabilities")).second.asFloatBuffer()
    val rules = case.getJSONObject("rules")
    val image = case.optJSONObject("image")?.let { grey(it) }
    val prediction = postprocess(
        probability(case.getJSONObject("mask_probability")),
        FloatArray(classes.remaining()) { classes.get(it) },
        height,
        width,
        readRules(rules, LABELS),
        image
    )
    val mask = prediction.lesions.mask
    return isSame(mask, grey(case.getJSONObject("mask"))) &&
        isSame(findContour(mask), grey(case.getJSONObject("contour"))) &&
        isRecordEqual(prediction, case.getJSONObject("record")) &&
        isDistanceEqual(rules, image, case)
}

private fun isRecordEqual(prediction: Prediction, record: JSONObject): Boolean {
    val fraction = prediction.lesions.area.toDouble() / prediction.lesions.mask.pixels.size
    val probabilities = record.getJSONObject("probabilities")
    val boxes = prediction.lesions.boxes.map { listOf(it.left, it.top, it.right, it.bottom) }
    val wanted = record.getJSONArray("boxes")
    val refer = record.getJSONArray("refer")
    return prediction.label == record.getString("class") &&
        LABELS.all { rounded(prediction.probabilities[it]!!) == probabilities.getDouble(it) } &&
        prediction.lesions.area == record.getInt("lesion_area_px") &&
        rounded(fraction) == record.getDouble("lesion_fraction") &&
        boxes == List(wanted.length()) { integers(wanted.getJSONArray(it)) } &&
        prediction.isEmptied == record.getBoolean("mask_emptied") &&
        prediction.refer == List(refer.length()) { refer.getString(it) }
}

private fun isDistanceEqual(rules: JSONObject, image: Grey?, case: JSONObject): Boolean {
    if (image == null || case.isNull("distance")) return true
    val look = readAppearance(rules.getJSONObject("refer").getJSONObject("look"))
    val wanted = case.getDouble("distance")
    return abs(look.distance(image) - wanted) <= 1e-5 * wanted
}

/** Half to even on the exact value, as Python's `round` does. */
private fun rounded(value: Double): Double =
    BigDecimal(value).setScale(6, RoundingMode.HALF_EVEN).toDouble()

private fun isSame(one: Grey, other: Grey): Boolean =
    one.height == other.height && one.width == other.width &&
        one.pixels.contentEquals(other.pixels)

private fun grey(vector: JSONObject): Grey {
    val (shape, bytes) = decode(vector)
    return Grey(shape[0], shape[1], bytes.array())
}

private fun probability(vector: JSONObject): Probability {
    val (shape, bytes) = decode(vector)
    val values = bytes.asFloatBuffer()
    return Probability(shape[0], shape[1], FloatArray(values.remaining()) { values.get(it) })
}

/** The shape of an array, and its bytes. */
private fun decode(vector: JSONObject): Pair<List<Int>, ByteBuffer> {
    val packed = Base64.getDecoder().decode(vector.getString("data"))
    val bytes = InflaterInputStream(packed.inputStream()).readBytes()
    val shape = integers(vector.getJSONArray("shape"))
    return Pair(shape, ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN))
}

private fun integers(list: JSONArray): List<Int> = List(list.length()) { list.getInt(it) }

private fun objects(list: JSONArray): List<JSONObject> =
    List(list.length()) { list.getJSONObject(it) }
