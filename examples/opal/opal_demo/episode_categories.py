from opal.core.episodes import EpisodeCategory


class ApplicationEpisode(EpisodeCategory):
    display_name    = 'opal_demo'
    detail_template = 'detail/opal_demo.html'