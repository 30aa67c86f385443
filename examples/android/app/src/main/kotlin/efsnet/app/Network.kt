package efsnet.app

import android.content.Context
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import efsnet.Grey
import efsnet.Prediction
import efsnet.Probability
import efsnet.postprocess
import efsnet.readCard
import efsnet.resizeImage

/** Side of the network's input and of its mask, in pixels. */
private const val SIDE = 256

/** The model of the app's assets, on the CPU. Use it from one thread at a time. */
class Network(context: Context) : AutoCloseable {
    private val rules = context.assets.open("card.json").bufferedReader().use {
        readCard(it.readText())
    }
    private val model = CompiledModel.create(
        context.assets,
        "model_float32.tflite",
        CompiledModel.Options(Accelerator.CPU)
    )
    private val input = model.createInputBuffer("image")
    // By name: the order of the outputs differs between files.
    private val outputs = listOf("mask", "class").associateWith { model.createOutputBuffer(it) }

    /** Predicts an image of any size. */
    fun predict(scan: Grey): Prediction {
        val image = resizeImage(scan, SIDE, SIDE)
        input.writeFloat(FloatArray(SIDE * SIDE) { image.level(it).toFloat() })
        model.run(mapOf("image" to input), outputs)
        val mask = Probability(SIDE, SIDE, outputs.getValue("mask").readFloat())
        val classes = outputs.getValue("class").readFloat()
        return postprocess(mask, classes, scan.height, scan.width, rules, image)
    }

    override fun close() {
        input.close()
        outputs.values.forEach { it.close() }
        model.close()
    }
}
