import javax.inject.Inject

plugins {
    id("com.android.application")
}

android {
    namespace = "efsnet.app"
    compileSdk = 36

    defaultConfig {
        applicationId = "efsnet.app"
        minSdk = 24 // LiteRT's
        targetSdk = 36
        versionCode = 1
        versionName = "1"
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
}

dependencies {
    implementation(project(":core"))
    implementation("androidx.core:core:1.18.0") // FileProvider
    implementation("com.google.ai.edge.litert:litert:2.3.0")
}

/** Copies the model and its card from the Python package into the app's assets. */
abstract class CopyModel @Inject constructor(private val system: FileSystemOperations) :
    DefaultTask() {
    @get:InputFiles
    abstract val files: ConfigurableFileCollection

    @get:OutputDirectory
    abstract val folder: DirectoryProperty

    @TaskAction
    fun copy() {
        system.sync {
            from(files)
            into(folder)
        }
    }
}

// The folder of `efsnet export`, with -Pmodel=FOLDER, or the shipped model.
val modelFolder = providers.gradleProperty("model").map { file(it) }
    .orElse(rootDir.resolve("../../keras_efsnet/presets/efsnet_base_breast"))
val copyModel = tasks.register<CopyModel>("copyModel") {
    files.from(modelFolder.map { it.resolve("model_float32.tflite") })
    files.from(modelFolder.map { it.resolve("card.json") })
}

androidComponents {
    onVariants { variant ->
        variant.sources.assets?.addGeneratedSourceDirectory(copyModel, CopyModel::folder)
    }
}
