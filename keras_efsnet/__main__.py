import sys

from keras_efsnet.cli import main

sys.exit(main())
