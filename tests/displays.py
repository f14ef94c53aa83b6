"""What several test files read off a picture."""


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]
