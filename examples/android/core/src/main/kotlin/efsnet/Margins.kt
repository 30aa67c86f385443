package efsnet

import kotlin.math.ceil
import kotlin.math.floor

/** Highest grey level of a margin's pixels. */
private const val DARK = 5

/**
 * Empties a mask in the black margins of the image that it belongs to.
 *
 * @param mask of 0 and 1; changed in place
 * @param image the same picture at any size; a black one has no margins
 */
internal fun emptyMargins(mask: Grey, image: Grey) {
    val rows = BooleanArray(image.height)
    val columns = BooleanArray(image.width)
    for (at in image.pixels.indices) {
        if (image.level(at) > DARK) {
            rows[at / image.width] = true
            columns[at % image.width] = true
        }
    }
    if (true !in rows) return
    val inRows = between(rows, mask.height)
    val inColumns = between(columns, mask.width)
    for (at in mask.pixels.indices) {
        if (at / mask.width !in inRows || at % mask.width !in inColumns) mask.pixels[at] = 0
    }
}

/** From the first to the last bright one, in `pixels` pixels. */
private fun between(bright: BooleanArray, pixels: Int): IntRange {
    val factor = pixels.toDouble() / bright.size
    val first = floor(bright.indexOf(true) * factor).toInt()
    return first until ceil((bright.lastIndexOf(true) + 1) * factor).toInt()
}
