package efsnet.app

import android.content.ContentResolver
import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.graphics.Color
import android.graphics.Matrix
import android.media.ExifInterface
import android.net.Uri
import efsnet.Grey
import efsnet.Prediction
import efsnet.findContour
import efsnet.toGrey

/** Larger pictures are read at half their size, a quarter, and so on. */
private const val MOST_PIXELS = 1 shl 22

private const val COLOUR = 0xFFD600

/** Of the tint over a lesion, in percent. */
private const val TINT = 25

/** Reads a picture, turned as its EXIF tag says. */
fun readPicture(files: ContentResolver, uri: Uri): Bitmap {
    val size = BitmapFactory.Options().apply { inJustDecodeBounds = true }
    open(files, uri).use { BitmapFactory.decodeStream(it, null, size) }
    val options = BitmapFactory.Options().apply {
        inSampleSize = 1
        val pixels = size.outWidth.toLong() * size.outHeight
        while (pixels / inSampleSize / inSampleSize > MOST_PIXELS) inSampleSize *= 2
    }
    val picture = open(files, uri).use { BitmapFactory.decodeStream(it, null, options) }
        ?: throw IllegalArgumentException("this file is no picture that Android reads.")
    val degrees = open(files, uri).use { degrees(ExifInterface(it)) }
    if (degrees == 0f) return picture
    val turn = Matrix().apply { postRotate(degrees) }
    return Bitmap.createBitmap(picture, 0, 0, picture.width, picture.height, turn, true)
}

/** The grey values of a picture. */
fun greyOf(picture: Bitmap): Grey {
    val pixels = IntArray(picture.width * picture.height)
    picture.getPixels(pixels, 0, picture.width, 0, 0, picture.width, picture.height)
    return toGrey(pixels, picture.height, picture.width)
}

/** The scan in grey, with the lesions tinted and their contour. */
fun drawOverlay(scan: Grey, prediction: Prediction): Bitmap {
    val mask = prediction.lesions.mask
    val contour = findContour(mask)
    val pixels = IntArray(scan.pixels.size) { at ->
        val level = scan.level(at)
        when {
            contour.pixels[at] > 0 -> mix(level, 100)
            mask.pixels[at] > 0 -> mix(level, TINT)
            else -> mix(level, 0)
        }
    }
    return Bitmap.createBitmap(pixels, scan.width, scan.height, Bitmap.Config.ARGB_8888)
}

/** A grey level under so many percent of the colour. */
private fun mix(level: Int, percent: Int): Int {
    fun band(colour: Int) = (colour * percent + level * (100 - percent)) / 100
    return Color.rgb(
        band(Color.red(COLOUR)),
        band(Color.green(COLOUR)),
        band(Color.blue(COLOUR))
    )
}

private fun open(files: ContentResolver, uri: Uri) = files.openInputStream(uri)
    ?: throw IllegalArgumentException("$uri cannot be opened.")

private fun degrees(tags: ExifInterface): Float =
    when (tags.getAttributeInt(ExifInterface.TAG_ORIENTATION, ExifInterface.ORIENTATION_NORMAL)) {
        ExifInterface.ORIENTATION_ROTATE_90 -> 90f
        ExifInterface.ORIENTATION_ROTATE_180 -> 180f
        ExifInterface.ORIENTATION_ROTATE_270 -> 270f
        else -> 0f
    }
