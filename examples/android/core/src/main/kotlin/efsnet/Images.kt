package efsnet

/** An 8-bit grey image, or a mask of 0 and 1, row by row. */
class Grey(val height: Int, val width: Int, val pixels: ByteArray) {
    init {
        require(pixels.size == height * width) {
            "$height x $width pixels need ${height * width} bytes, got ${pixels.size}."
        }
    }

    /** The level of a pixel, 0 to 255; bytes have a sign in Kotlin. */
    fun level(at: Int): Int = pixels[at].toInt() and 255
}

/** The probability of lesion in each pixel, row by row. */
class Probability(val height: Int, val width: Int, val values: FloatArray)

/**
 * 8-bit grey by ITU-R 601 in Pillow's whole numbers; alpha is ignored.
 *
 * @param argb one number a pixel, as `Bitmap.getPixels` of Android gives them
 */
fun toGrey(argb: IntArray, height: Int, width: Int): Grey {
    val pixels = ByteArray(argb.size) { at ->
        val red = argb[at] shr 16 and 255
        val green = argb[at] shr 8 and 255
        val blue = argb[at] and 255
        (red * 19595 + green * 38470 + blue * 7471 + 0x8000 shr 16).toByte()
    }
    return Grey(height, width, pixels)
}

/** To the network's size. Android's `createScaledBitmap` does not antialias. */
fun resizeImage(image: Grey, height: Int, width: Int): Grey {
    val levels = DoubleArray(image.pixels.size) { image.level(it).toDouble() }
    val resized = resizeLevels(levels, image.height, image.width, height, width)
    return Grey(height, width, ByteArray(resized.size) { resized[it].toInt().toByte() })
}

/** To the image's size; to be cut after it. */
fun resizeProbability(map: Probability, height: Int, width: Int): Probability {
    val values = DoubleArray(map.values.size) { map.values[it].toDouble() }
    val resized = resizeFloats(values, map.height, map.width, height, width)
    return Probability(height, width, FloatArray(resized.size) { resized[it].toFloat() })
}
