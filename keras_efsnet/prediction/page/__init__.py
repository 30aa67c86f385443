"""The results page: one HTML file that shows a folder of predictions."""

from keras_efsnet.prediction.page.document import (
    PAGE_NAME,
    check_place,
    remove_page,
    write_page,
)

__all__ = ["PAGE_NAME", "check_place", "remove_page", "write_page"]
